// The dialog that shows the classes of a picture in their colours, over it, and how much of it each covers.

const $ = (id) => document.getElementById(`segmented-${id}`);
const dialog = document.getElementById("segmented");

const fade = () => ($("map").style.opacity = $("opacity").value);
$("opacity").addEventListener("input", fade);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

export function showClasses(picture, { class_map: map, shares }) {
  $("picture").src = picture;
  $("map").src = map;
  fade();
  $("shares").replaceChildren(...shares.map(({ name, share, colour }) => {
    const [item, swatch] = ["li", "span"].map((kind) => document.createElement(kind));
    swatch.className = "swatch";
    swatch.style.background = colour;
    const text = document.createElement("span");
    text.textContent = `${name} ${(100 * share).toFixed(1)} %`;
    text.dir = "auto";
    item.append(swatch, text);
    return item;
  }));
  dialog.showModal();
}
