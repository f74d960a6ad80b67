// Rows of conditions on the metadata, and the JSON object they make.

const rows = document.querySelector("#conditions");
const template = document.querySelector("#condition");
const badge = document.querySelector("#filter-count");

export function addCondition(field = "", operator = "$eq", value = "") {
  const row = template.content.firstElementChild.cloneNode(true);
  row.querySelector(".field").value = field;
  row.querySelector(".operator").value = operator;
  row.querySelector(".value").value = value;
  row.querySelector(".remove").addEventListener("click", () => {
    row.remove();
    rows.dispatchEvent(new Event("change", { bubbles: true }));
  });
  rows.append(row);
  return row;
}

// 2024 is a number, "2024" in quotes and everything else a text; true, false and null are themselves.
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? text : value;
  } catch {
    return text;
  }
}

export function condition() {
  const parts = [...rows.children]
    .map((row) => [".field", ".operator", ".value"].map((name) => row.querySelector(name).value.trim()))
    .filter(([field]) => field)
    .map(([field, operator, value]) => ({
      [field]: { [operator]: operator === "$in" ? value.split(",").map((one) => parsed(one.trim())) : parsed(value) },
    }));
  badge.textContent = parts.length;
  badge.hidden = parts.length === 0;
  return parts.length ? { $and: parts } : undefined;
}

export function restore(filter) {
  rows.replaceChildren();
  for (const part of filter?.$and ?? []) {
    const [[field, test]] = Object.entries(part);
    const [[operator, value]] = Object.entries(test);
    const quoted = (one) => (typeof one === "string" && parsed(one) === one ? one : JSON.stringify(one));
    addCondition(field, operator, Array.isArray(value) ? value.map(quoted).join(", ") : quoted(value));
  }
  if (condition()) document.querySelector("#filters").open = true;
}

// Offers the names that the metadata of these hits has.
export function learnFields(hits) {
  const names = new Set(hits.flatMap((hit) => Object.keys(hit.metadata)));
  const options = [...names].sort().map((name) => Object.assign(document.createElement("option"), { value: name }));
  document.querySelector("#fields").replaceChildren(...options);
}
