"use strict";

// What is under the pointer: a shape that says it itself, or a cell of a grid whose texts stand beside the picture.
const tip = document.getElementById("tip");

function said(event) {
  const shape = event.target.closest("[data-said], [data-band]");
  if (!shape) return "";
  return shape.dataset.said || cell(shape, event);
}

function cell(shape, event) {
  const box = shape.getBoundingClientRect();
  const across = (event.clientX - box.left) / box.width;
  const down = (event.clientY - box.top) / box.height;
  const data = texts(shape.closest("figure"));
  const band = Number(shape.dataset.band);
  if (shape.dataset.across) {
    const tiles = data.tiles[band];
    const columns = Number(shape.dataset.across);
    const rows = Math.ceil(tiles.length / columns);
    return tiles[Math.floor(down * rows) * columns + Math.floor(across * columns)] || "";
  }
  const { rows, columns } = data.bands[band];
  const row = rows[Math.min(rows.length - 1, Math.max(0, Math.floor(down * rows.length)))];
  const width = columns.length || Math.max(...rows.map((one) => one[1].length));
  const column = Math.min(width - 1, Math.max(0, Math.floor(across * width)));
  const where = columns.length ? columns[column] : `${data.x} ${(column * data.every).toLocaleString("en")}`;
  const meaning = data.meanings[row[1][column]];
  return meaning ? `${row[0]}; ${where}: ${meaning}` : "";
}

const read = new Map();

function texts(figure) {
  if (!read.has(figure)) read.set(figure, JSON.parse(figure.querySelector("script").textContent));
  return read.get(figure);
}

function point(event) {
  const text = said(event);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const { offsetWidth, offsetHeight } = tip;
  const left = Math.min(event.clientX + 14, window.innerWidth - offsetWidth - 8);
  const below = event.clientY + 18;
  const top = below + offsetHeight > window.innerHeight ? event.clientY - offsetHeight - 10 : below;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

document.addEventListener("pointermove", point);
document.addEventListener("pointerdown", point);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// What is wider than the screen can be scrolled by keys, too.
function reach() {
  for (const area of document.querySelectorAll(".scroll")) {
    if (area.scrollWidth > area.clientWidth) area.tabIndex = 0;
    else area.removeAttribute("tabindex");
  }
}

reach();
window.addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);

// Copy the next command.
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
}

// Search in everything: rows that have all the words stay, and what has such rows opens.
const search = document.getElementById("search");
const folds = [...document.querySelectorAll("#everything .fold")];
const kinds = [...document.querySelectorAll(".kinds button")];

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [n, fold] of folds.entries()) {
    const rows = [...fold.querySelectorAll("tbody tr, .item:not(.wide-item)")];
    let here = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      here += !row.hidden;
    }
    const wanted = kinds[n].getAttribute("aria-pressed") === "true";
    fold.hidden = !wanted || (words.length > 0 && here === 0);
    if (words.length) fold.open = here > 0;
    shown += wanted ? here : 0;
  }
  document.getElementById("found").textContent = words.length ? `${shown.toLocaleString("en")} found` : "";
}

if (search) {
  document.querySelector(".tools").hidden = false;
  search.addEventListener("input", filter);
  for (const button of kinds) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "true" ? "false" : "true");
      filter();
    });
  }
}

// The JSON that this page was made of, as a file.
const json = document.getElementById("json");

if (json) {
  document.querySelector(".download").hidden = false;
  document.querySelector(".download button").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([json.textContent], { type: "application/json" }));
    link.download = "audit.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
