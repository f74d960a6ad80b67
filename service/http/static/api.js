// Asks the server. A token, if the server wants one, lives as long as the tab.

const KEY = "polylens-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function answer(path, options) {
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached.");
  }
  if (reply.ok) return reply;
  const content = await reply.json().catch(() => ({}));
  throw new Refused(reply.status, content.error?.message ?? `The server answered ${reply.status}.`);
}

export const collections = async () => (await (await answer("/v1/collections", {})).json()).collections;

export const models = async () => (await (await answer("/v1/models", {})).json()).data;

async function posted(path, body, signal) {
  const told = { "content-type": "application/json" };
  return (await answer(path, { method: "POST", headers: told, body: JSON.stringify(body), signal })).json();
}

export const search = (body, signal) => posted("/v1/search", body, signal);

export const segment = async (image) => (await posted("/v1/segment", { images: [image] })).segmentations[0];

// The address of a picture for an <img>, which cannot send a token by itself.
export async function picture(path) {
  if (!sessionStorage.getItem(KEY)) return path;
  return URL.createObjectURL(await (await answer(path, {})).blob());
}
