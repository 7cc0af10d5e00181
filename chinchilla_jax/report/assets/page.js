const root = document.documentElement;
root.classList.add("js");

// ---- colours: the system's, or the reader's choice for this visit
const theme = document.getElementById("theme");
theme.addEventListener("change", () => {
  if (theme.value) root.dataset.theme = theme.value;
  else delete root.dataset.theme;
});

// ---- tables: sorting and CSV
const value = (cell) => cell.dataset.v ?? cell.textContent;

function sort(table, column, numeric, down) {
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row, i) => {
    const text = value(row.cells[column]);
    const key = numeric ? (text === "inf" ? Infinity : text === "-inf" ? -Infinity : parseFloat(text)) : text;
    return { row, key, i };
  });
  const missing = (key) => (numeric ? Number.isNaN(key) : key === "");
  keyed.sort((a, b) => {
    if (missing(a.key) || missing(b.key)) return missing(a.key) - missing(b.key) || a.i - b.i;
    const order = numeric ? a.key - b.key || 0 : a.key.localeCompare(b.key, "en", { numeric: true });
    return (down ? -order : order) || a.i - b.i;
  });
  body.append(...keyed.map((each) => each.row));
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = `${head.title ? `${head.title}; ` : ""}press to sort`;
    head.removeAttribute("title");
    head.dataset.name = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(table, column, head.classList.contains("n"), down);
    });
  });
}

// A spreadsheet runs text that begins like a formula; numbers may begin with a sign.
const plain = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
const escaped = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const quoted = (text) => escaped(plain(text));

function csv(table) {
  const header = [...table.tHead.rows[0].cells].map((cell) => quoted(cell.dataset.name));
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => quoted(value(cell))));
  return [header, ...rows].map((row) => row.join(",")).join("\r\n") + "\r\n";
}

function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const button of document.querySelectorAll("button.csv"))
  button.addEventListener("click", () => {
    const id = button.dataset.table;
    save(`${id}.csv`, csv(document.getElementById(`${id}-table`)), "text/csv;charset=utf-8");
  });
for (const button of document.querySelectorAll("button.save"))
  button.addEventListener("click", () =>
    save(button.dataset.file, document.getElementById(button.dataset.text).textContent, "text/plain;charset=utf-8"));

// ---- on a narrow screen the panels of a wide picture are shown one by one, at the size of its own labels
const narrow = matchMedia("(max-width: 34rem)"); // as in page.css
const SCALE = 0.425; // of the pixels of a picture: 34rem for its 1280

// The part of a picture within a box: left, top, right and bottom as shares of it.
function cut(picture, [left, top, right, bottom]) {
  const part = document.createElement("div");
  const image = new Image();
  image.alt = "";
  image.src = picture.src;
  const across = right - left, down = bottom - top;
  part.style.width = `${SCALE * across * picture.width}px`;
  part.style.aspectRatio = `${across * picture.width} / ${down * picture.height}`;
  Object.assign(image.style, { width: `${100 / across}%`, left: `${(-100 * left) / across}%`, top: `${(-100 * top) / down}%` });
  part.append(image);
  return part;
}

function showPanels() {
  for (const figure of document.querySelectorAll("figure[data-panels]:not(:has(.panels))")) {
    const picture = { src: figure.querySelector("img").src, width: Number(figure.querySelector("img").getAttribute("width")),
      height: Number(figure.querySelector("img").getAttribute("height")) };
    const shown = document.createElement("div");
    shown.className = "panels";
    shown.setAttribute("role", "img");
    shown.setAttribute("aria-label", figure.querySelector("img").alt);
    for (const [box, names] of JSON.parse(figure.dataset.panels)) {
      const panel = document.createElement("div");
      panel.append(...(names ? [cut(picture, names)] : []), cut(picture, box));
      shown.append(panel);
    }
    figure.prepend(shown);
  }
}
if (narrow.matches) showPanels();
narrow.addEventListener("change", () => narrow.matches && showPanels());

// ---- pictures wider than the screen can be scrolled by keyboard too
const pictures = [...document.querySelectorAll(".picture")];
new ResizeObserver(() => {
  for (const picture of pictures) {
    const wide = picture.scrollWidth > picture.clientWidth;
    if (wide) picture.tabIndex = 0;
    else picture.removeAttribute("tabindex");
  }
}).observe(root);

// ---- pictures of what the explorers show are folded, but printed
const stills = [...document.querySelectorAll("details.stills")];
let opened = [];
for (const each of stills) each.open = false;
addEventListener("beforeprint", () => {
  opened = stills.filter((each) => !each.open);
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of opened) each.open = false;
});

// ---- links into folded tables
function reveal() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const own = target.querySelector(":scope > details");
  if (own) own.open = true;
  for (let up = target.parentElement; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
  target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
}
addEventListener("hashchange", reveal);
reveal();
