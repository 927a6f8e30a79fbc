// Downloads: CSV with all digits, and the chart as self-contained SVG and PNG.

import { h, s } from "./dom.js";

const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight"];
const LINE_HEIGHT = 22; // Pixels, of the title and the legend.

function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function saveCsv(name, bars, series) {
  const groups = series.length > 1 ? series : [];
  const isCompared = Boolean(bars[0].previous);
  const header = [
    "bucket_start", "bucket_end", "co2e_kg", "location_co2e_kg", "market_co2e_kg", "provisional_co2e_kg", "usage_count", "coverage", "estimated_share", "partial",
    ...groups.map(group => group.name), ...(isCompared ? ["previous_start", "previous_co2e_kg", "previous_coverage"] : []),
  ];
  const rows = bars.map(bar => [
    bar.start, bar.end, bar.total, bar.location, bar.market, bar.provisional, bar.usageCount, bar.coverage, bar.estimatedShare, bar.isPartial,
    ...groups.map((_, index) => bar.parts[index]), ...(isCompared ? [bar.previous.start, bar.previous.total, bar.previous.coverage] : []),
  ]);
  save(`${name}.csv`, [header.map(escapeFormula), ...rows].map(row => `${row.map(quote).join(",")}\r\n`).join(""), "text/csv;charset=utf-8");
}

// Spreadsheets execute text that starts with these characters. An apostrophe prevents it.
function escapeFormula(text) {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function quote(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function saveSvg(name, figure, title, series) {
  save(`${name}.svg`, serialize(standaloneChart(figure, title, series)), "image/svg+xml");
}

export async function savePng(name, figure, title, series) {
  const svg = standaloneChart(figure, title, series);
  const url = URL.createObjectURL(new Blob([serialize(svg)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = h("canvas", { width: svg.getAttribute("width") * 2, height: svg.getAttribute("height") * 2 });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    save(`${name}.png`, await new Promise(resolve => canvas.toBlob(resolve, "image/png")));
  } finally {
    URL.revokeObjectURL(url);
  }
}

function serialize(svg) {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(svg)}\n`;
}

// The chart with its title and legend, with styles as attributes because a file has no style sheet.
function standaloneChart(figure, title, series) {
  const original = figure.querySelector("svg");
  const copy = original.cloneNode(true);
  const originals = [...original.querySelectorAll("*")];
  [...copy.querySelectorAll("*")].forEach((element, index) => inlineStyles(element, originals[index]));
  const width = Number(original.getAttribute("width"));
  const height = Number(original.getAttribute("height"));
  const card = getComputedStyle(figure.closest(".card"));
  const text = { "font-family": card.fontFamily, "font-size": 13, fill: card.color };
  const keys = series.length > 1 ? series : [];
  const fullHeight = height + LINE_HEIGHT * (keys.length + 2);
  const color = index => getComputedStyle(document.querySelector(`.legend .series-${index}`)).backgroundColor;
  return s("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: fullHeight, viewBox: `0 0 ${width} ${fullHeight}` },
    s("title", {}, title),
    s("rect", { width, height: fullHeight, fill: card.backgroundColor }),
    s("text", { ...text, x: 8, y: LINE_HEIGHT, "font-weight": 600 }, title),
    s("g", { transform: `translate(0 ${LINE_HEIGHT * 1.5})` }, [...copy.childNodes]),
    keys.map((group, index) => s("g", { transform: `translate(12 ${height + LINE_HEIGHT * (index + 2)})` },
      s("rect", { width: 12, height: 12, y: -11, rx: 2, fill: color(index) }),
      s("text", { ...text, x: 20 }, group.name))));
}

function inlineStyles(element, original) {
  const style = getComputedStyle(original);
  for (const property of STYLES) element.setAttribute(property, style.getPropertyValue(property));
  for (const name of ["class", "tabindex", "role", "aria-label"]) element.removeAttribute(name);
}
