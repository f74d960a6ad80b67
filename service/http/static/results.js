// The grid of hits, moving in it by keys, and the dialog with all that is known of one.

import { picture } from "./api.js";

const list = document.querySelector("#results");
const card = document.querySelector("#card");
const detail = document.querySelector("#detail");
const INLINE = /^data:image\/(png|jpeg|webp);base64,/;
let shown = []; // addresses of pictures that are to be given back

const nameOf = (hit) => {
  const { name, title, caption } = hit.metadata;
  return String(name ?? title ?? caption ?? hit.id);
};

const SHOWN_ELSEWHERE = ["name", "title", "caption", "emoji", "thumbnail", "path"];

// The first few plain facts, for the card; the dialog has all.
const factsOf = (hit) => Object.entries(hit.metadata)
  .filter(([name, value]) => !SHOWN_ELSEWHERE.includes(name) && ["string", "number", "boolean"].includes(typeof value))
  .slice(0, 3)
  .map(([name, value]) => `${name} ${value}`)
  .join(" · ");

async function fill(frame, hit) {
  const letter = Object.assign(document.createElement("span"), { className: "letter", ariaHidden: "true" });
  letter.textContent = typeof hit.metadata.emoji === "string" ? hit.metadata.emoji : nameOf(hit).slice(0, 1);
  frame.replaceChildren(letter);
  const { thumbnail } = hit.metadata;
  const path = INLINE.test(thumbnail) ? thumbnail : hit.picture;
  if (!path) return;
  try {
    const address = path === hit.picture ? await picture(path) : path;
    if (address.startsWith("blob:")) shown.push(address);
    const image = Object.assign(new Image(), { loading: "lazy", decoding: "async", alt: "", src: address });
    image.addEventListener("error", () => frame.replaceChildren(letter));
    frame.replaceChildren(image);
  } catch {
    // the letter stays
  }
}

export function show(hits, like) {
  shown.forEach((address) => URL.revokeObjectURL(address));
  shown = [];
  const top = Math.max(...hits.map((hit) => hit.score), 0.01);
  list.replaceChildren(...hits.map((hit, rank) => {
    const item = card.content.firstElementChild.cloneNode(true);
    const open = item.querySelector(".open");
    open.tabIndex = rank === 0 ? 0 : -1; // one stop for Tab; arrows move within
    open.addEventListener("click", () => openDetail(hit, like));
    item.querySelector(".title").textContent = nameOf(hit);
    item.querySelector(".title").dir = "auto";
    const facts = item.querySelector(".facts");
    facts.textContent = factsOf(hit);
    facts.hidden = !facts.textContent;
    item.querySelector(".number").textContent = hit.score.toFixed(3);
    item.querySelector(".score").title = "Cosine of query and picture";
    item.querySelector(".bar").style.setProperty("--share", Math.max(0, hit.score / top).toFixed(3));
    const more = item.querySelector(".like");
    more.setAttribute("aria-label", `More like ${nameOf(hit)}`);
    more.tabIndex = open.tabIndex;
    more.addEventListener("click", () => like(hit));
    fill(item.querySelector(".frame"), hit);
    return item;
  }));
}

function openDetail(hit, like) {
  fill(document.querySelector("#detail-frame"), hit);
  document.querySelector("#detail-title").textContent = nameOf(hit);
  const facts = Object.entries({ id: hit.id, score: hit.score.toFixed(4), ...hit.metadata })
    .filter(([name]) => name !== "thumbnail")
    .flatMap(([name, value]) => {
      const term = Object.assign(document.createElement("dt"), { textContent: name });
      const text = typeof value === "string" ? value : JSON.stringify(value);
      return [term, Object.assign(document.createElement("dd"), { textContent: text, dir: "auto" })];
    });
  document.querySelector("#detail-facts").replaceChildren(...facts);
  document.querySelector("#detail-like").onclick = () => {
    detail.close();
    like(hit);
  };
  detail.showModal();
}

detail.addEventListener("click", (event) => event.target === detail && detail.close());

function focus(item) {
  const open = item?.querySelector(".open");
  if (!open) return;
  for (const button of list.querySelectorAll("button")) button.tabIndex = -1;
  for (const button of item.querySelectorAll("button")) button.tabIndex = 0;
  open.focus();
}

// Cards per row, counted from where they stand.
const columns = () => [...list.children].filter((item) => item.offsetTop === list.children[0].offsetTop).length;

list.addEventListener("keydown", (event) => {
  const items = [...list.children];
  const at = items.findIndex((item) => item.contains(document.activeElement));
  if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.toLowerCase() === "m") return items[at].querySelector(".like").click();
  const forward = getComputedStyle(list).direction === "rtl" ? -1 : 1;
  const steps = { ArrowRight: forward, ArrowLeft: -forward, ArrowDown: columns(), ArrowUp: -columns() };
  const ends = { Home: 0, End: items.length - 1 };
  const to = event.key in ends ? ends[event.key] : at + steps[event.key];
  if (!(to >= 0 && to < items.length)) return;
  event.preventDefault();
  focus(items[to]);
});
