// The search page: what is asked, where the answer goes, and the address that says so.

import * as api from "./api.js";
import { addCondition, condition, learnFields, restore } from "./filters.js";
import { pictureIn, readPicture } from "./picture.js";
import { show } from "./results.js";
import { showClasses } from "./segment.js";

const $ = (id) => document.getElementById(id);
const text = $("text");
let image = null; // a data URI
let like = null; // the hit that others are to be like: id and name
let running = null;

const state = () => ({
  q: text.value.trim(), id: like?.id ?? "", like: like?.name ?? "", c: $("collection").value, k: $("k").value,
  f: JSON.stringify(condition()) ?? "",
});

function query() {
  if (like) return { id: like.id };
  const words = text.value.trim();
  if (image && words) return { mixture: [{ image }, { text: words, weight: Number($("weight").value) }] };
  return image ? { image } : words ? { text: words } : null;
}

async function run({ remember = true } = {}) {
  running?.abort();
  const asked = query();
  $("examples").hidden = asked !== null;
  if (!asked) return clear();
  running = new AbortController();
  const mine = running;
  if (remember) history.pushState(null, "", `?${new URLSearchParams(Object.entries(state()).filter(([, v]) => v))}`);
  $("problem").hidden = true;
  $("results").setAttribute("aria-busy", "true");
  try {
    const body = { ...asked, k: Number($("k").value), collection: $("collection").value, filter: condition() };
    const found = await api.search(body, mine.signal);
    show(found.hits, moreLike);
    learnFields(found.hits);
    told(found);
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
  } finally {
    if (mine === running) $("results").setAttribute("aria-busy", "false");
  }
}

function told({ hits, timings, truncated }) {
  const subject = like ? `like “${like.name}”, ` : "";
  const cut = truncated ? " The text is longer than the model reads; only its beginning counts." : "";
  const count = hits.length === 1 ? "1 result" : `${hits.length} results`;
  $("status").textContent = hits.length
    ? `${count}, ${subject}${Math.max(1, Math.round(timings.total_ms))} ms.${cut}`
    : `Nothing found${condition() ? " that meets the filters" : ""}.`;
}

function refused(error) {
  if (error.status === 401) return $("login").open || $("login").showModal();
  show([], moreLike);
  $("status").textContent = "";
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

function clear() {
  show([], moreLike);
  $("status").textContent = "";
  $("problem").hidden = true;
  history.replaceState(null, "", "/");
}

function moreLike(hit) {
  like = { id: hit.id, name: String(hit.metadata.name ?? hit.id) };
  text.value = "";
  attach(null);
  scrollTo({ top: 0 });
  run().then(() => $("results").querySelector(".open")?.focus());
}

function attach(uri) {
  image = uri;
  $("attached").hidden = !uri;
  $("balance").hidden = !uri || !text.value.trim();
  if (uri) $("preview").src = uri;
  else $("file").value = "";
}

async function take(file) {
  if (!file) return;
  try {
    attach(await readPicture(file));
    like = null;
    run();
  } catch {
    refused(new Error("That file is no picture this browser can read."));
  }
}

async function loadCollections(chosen) {
  const all = await api.collections();
  const options = all.map((one) => {
    const label = one.problem ? `${one.name} (cannot be searched)` : `${one.name} (${one.count.toLocaleString()})`;
    return Object.assign(new Option(label, one.name), { disabled: Boolean(one.problem), title: one.problem });
  });
  $("collection").replaceChildren(...options);
  const first = all.find((one) => !one.problem && one.count) ?? all.find((one) => !one.problem);
  $("collection").value = all.some((one) => one.name === chosen) ? chosen : (first?.name ?? "");
  if (!first) $("status").textContent = "There is no collection to search yet.";
}

async function offerClasses() {
  const [model] = await api.models();
  $("segment").hidden = !model.capabilities.includes("segment");
}

async function start() {
  const given = new URLSearchParams(location.search);
  text.value = given.get("q") ?? "";
  like = given.get("id") ? { id: given.get("id"), name: given.get("like") ?? given.get("id") } : null;
  if (given.get("k")) $("k").value = given.get("k");
  try {
    restore(JSON.parse(given.get("f") ?? "null"));
    await offerClasses();
    await loadCollections(given.get("c"));
    await run({ remember: false });
  } catch (error) {
    refused(error);
  }
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  like = null;
  run();
});
text.addEventListener("input", () => ($("balance").hidden = !image || !text.value.trim()));
text.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") $("results").querySelector(".open")?.focus();
});
$("file").addEventListener("change", () => take($("file").files[0]));
$("detach").addEventListener("click", () => {
  attach(null);
  text.focus();
  run();
});
$("segment").addEventListener("click", async () => {
  $("problem").hidden = true;
  $("segment").disabled = true;
  try {
    showClasses(image, await api.segment(image));
  } catch (error) {
    refused(error);
  } finally {
    $("segment").disabled = false;
  }
});
$("weight").addEventListener("input", () => ($("weight-shown").textContent = Number($("weight").value).toFixed(1)));
for (const id of ["weight", "collection", "k", "conditions"]) $(id).addEventListener("change", () => run());
$("add-condition").addEventListener("click", () => addCondition().querySelector(".field").focus());
$("examples").addEventListener("click", (event) => {
  if (event.target.tagName !== "BUTTON") return;
  text.value = event.target.textContent;
  like = null;
  run();
});
$("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken($("token").value.trim());
  $("login").close();
  start();
});
document.addEventListener("paste", (event) => take(pictureIn(event.clipboardData)));
const over = (on) => document.querySelector(".box").classList.toggle("over", on);
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  over(event.dataTransfer?.types.includes("Files"));
});
document.addEventListener("dragleave", (event) => !event.relatedTarget && over(false));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  over(false);
  take(pictureIn(event.dataTransfer));
});
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);
  if (event.key === "/" && !typing && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    text.select();
  }
});
addEventListener("popstate", start);
start();
