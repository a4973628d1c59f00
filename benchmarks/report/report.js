"use strict";

// Sorting: a click on a header sorts by it, the next one the other way round. Empty cells stay last.
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v.replace("inf", "Infinity"));
}

function compare(a, b) {
  const numbers = (typeof a === "number") + (typeof b === "number");
  if (numbers === 2) return a - b;
  return numbers === 1 ? (typeof a === "number" ? -1 : 1) : collator.compare(a, b);
}

function sortBy(header) {
  const descending = header.ariaSort === "ascending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = header.closest("table").tBodies[0];
  const keyed = Array.from(body.rows, row => [keyOf(row, header.cellIndex), row]);
  keyed.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return descending ? compare(b, a) : compare(a, b);
  });
  body.append(...keyed.map(([, row]) => row));
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}

// Filter: rows that hold every word, in the row itself or in the title of its table.
const filter = document.getElementById("filter");
const tables = Array.from(document.querySelectorAll("details.table"), details => ({
  details,
  wasOpen: details.open,
  title: details.querySelector("summary").firstChild.textContent.toLowerCase(),
  rows: Array.from(details.querySelectorAll("tbody tr")),
}));
const texts = new Map();

function textOf(row) {
  if (!texts.has(row)) {
    texts.set(row, Array.from(row.cells, cell => cell.textContent).join(" ").toLowerCase());
  }
  return texts.get(row);
}

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { details, wasOpen, title, rows } of tables) {
    const wanted = words.filter(word => !title.includes(word));
    let kept = 0;
    for (const row of rows) {
      row.hidden = !wanted.every(word => textOf(row).includes(word));
      kept += !row.hidden;
    }
    details.classList.toggle("empty", kept === 0);
    details.open = words.length ? kept > 0 && kept <= 200 : wasOpen;
    found += kept;
  }
  for (const section of document.querySelectorAll("section")) {
    section.classList.toggle("empty", !section.querySelector("details.table:not(.empty)"));
  }
  document.body.classList.toggle("filtering", words.length > 0);
  document.getElementById("found").textContent = words.length ? `${found} rows` : "";
}

let waiting;
filter.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(applyFilter, 150);
});
document.querySelector(".filter").hidden = false;

// Theme: what the system prefers, until the button says otherwise.
const root = document.documentElement;
const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function showTheme() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  theme.textContent = dark ? "light" : "dark";
  theme.setAttribute("aria-label", `${theme.textContent} colours`);
  return dark;
}

try {
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
} catch { /* a page from a file may not store anything */ }
prefersDark.addEventListener("change", showTheme);
theme.addEventListener("click", () => {
  root.dataset.theme = showTheme() ? "light" : "dark";
  showTheme();
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* as above */ }
});
theme.hidden = false;
showTheme();
