// What is shown, as files: CSV with every digit, and the chart as SVG and PNG that need nothing of this page.

import { h, s } from "./dom.js";

const PAINTED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight"];
const LINE = 22; // Pixels of a line of the legend.

export function save(name, content, type) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function saveCsv(name, shown, series) {
  const groups = series.length > 1 ? series : [];
  const isCompared = Boolean(shown[0].previous);
  const header = [
    "bucket_start", "bucket_end", "co2e_kg", "usage_count", "coverage", "estimated_share", "partial",
    ...groups.map(one => one.name), ...(isCompared ? ["previous_start", "previous_co2e_kg"] : []),
  ];
  const rows = shown.map(one => [
    one.start, one.end, one.total, one.usageCount, one.coverage, one.estimatedShare, one.isPartial,
    ...groups.map((_, place) => one.parts[place]), ...(isCompared ? [one.previous.start, one.previous.total] : []),
  ]);
  save(`${name}.csv`, [header.map(guarded), ...rows].map(line => `${line.map(cell).join(",")}\r\n`).join(""), "text/csv;charset=utf-8");
}

// A name that a spreadsheet would run has an apostrophe before it.
function guarded(text) {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function cell(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function saveSvg(name, figure, title, series) {
  save(`${name}.svg`, written(picture(figure, title, series)), "image/svg+xml");
}

export async function savePng(name, figure, title, series) {
  const svg = picture(figure, title, series);
  const address = URL.createObjectURL(new Blob([written(svg)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = h("canvas", { width: svg.getAttribute("width") * 2, height: svg.getAttribute("height") * 2 });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    save(`${name}.png`, await new Promise(resolve => canvas.toBlob(resolve, "image/png")));
  } finally {
    URL.revokeObjectURL(address);
  }
}

function written(svg) {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(svg)}\n`;
}

// The chart by itself: painted as it is here, for there are no style sheets elsewhere, with its title and its legend.
function picture(figure, title, series) {
  const original = figure.querySelector("svg");
  const copy = original.cloneNode(true);
  const painted = [...original.querySelectorAll("*")];
  [...copy.querySelectorAll("*")].forEach((element, place) => paint(element, painted[place]));
  const width = Number(original.getAttribute("width"));
  const height = Number(original.getAttribute("height"));
  const page = getComputedStyle(figure.closest(".card"));
  const text = { "font-family": page.fontFamily, "font-size": 13, fill: page.color };
  const keys = series.length > 1 ? series : [];
  const full = height + LINE * (keys.length + 2);
  const colour = place => getComputedStyle(document.querySelector(`.legend .series-${place}`)).backgroundColor;
  return s("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: full, viewBox: `0 0 ${width} ${full}` },
    s("title", {}, title),
    s("rect", { width, height: full, fill: page.backgroundColor }),
    s("text", { ...text, x: 8, y: LINE, "font-weight": 600 }, title),
    s("g", { transform: `translate(0 ${LINE * 1.5})` }, [...copy.childNodes]),
    keys.map((one, place) => s("g", { transform: `translate(12 ${height + LINE * (place + 2)})` },
      s("rect", { width: 12, height: 12, y: -11, rx: 2, fill: colour(place) }),
      s("text", { ...text, x: 20 }, one.name))));
}

function paint(element, original) {
  const style = getComputedStyle(original);
  for (const property of PAINTED) element.setAttribute(property, style.getPropertyValue(property));
  for (const name of ["class", "tabindex", "role", "aria-label"]) element.removeAttribute(name);
}
