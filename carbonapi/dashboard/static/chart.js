// Stacked bars over time, as SVG. Every bar can be pointed at and has the focus in its turn; what it says stands beside.

import { exact, massUnit } from "./decimals.js";
import { h, s } from "./dom.js";

const HEIGHT = 320;
const EDGES = { top: 28, right: 6, bottom: 30, left: 58 };
const LEAST_LABEL = 64; // Pixels from one name below the axis to the next.

// A figure that draws itself anew when its width changes.
export function barChart({ shown, series, name, isCompared }) {
  const readout = h("div", { class: "readout", "aria-live": "polite", hidden: true });
  const figure = h("figure", { class: "chart" }, readout);
  let drawn = 0;
  const draw = width => {
    if (Math.abs(width - drawn) < 1 || width < 1) return;
    drawn = width;
    figure.querySelector("svg")?.remove();
    figure.prepend(drawing({ shown, series, name, isCompared, width, readout }));
  };
  new ResizeObserver(([{ contentRect }]) => draw(contentRect.width)).observe(figure);
  figure.addEventListener("pointerleave", () => { readout.hidden = true; });
  figure.addEventListener("keydown", event => { if (event.key === "Escape") readout.hidden = true; });
  return figure;
}

function drawing({ shown, series, name, isCompared, width, readout }) {
  const inner = { width: width - EDGES.left - EDGES.right, height: HEIGHT - EDGES.top - EDGES.bottom };
  const stacks = shown.map(one => stackOf(one.parts.map(Number)));
  const all = [...stacks.flatMap(({ low, high }) => [low, high]), ...(isCompared ? shown.map(one => Number(one.previous.total)) : [])];
  const scale = scaleOf(Math.min(0, ...all), Math.max(0, ...all), inner.height);
  const slot = inner.width / shown.length;
  const bars = shown.map((one, place) => bar({ one, place, stack: stacks[place], scale, slot, isCompared }));
  bars[0].setAttribute("tabindex", "0");
  const svg = s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "group", "aria-label": name },
    patterns(),
    axis(scale, width),
    s("g", { class: "bars" }, bars),
    names(shown, slot));
  const tell = place => {
    for (const other of svg.querySelectorAll(".bar.told")) other.classList.remove("told");
    bars[place].classList.add("told");
    showReadout(readout, shown[place], series, EDGES.left + (place + 0.5) * slot, width);
  };
  bars.forEach((element, place) => {
    element.addEventListener("pointerenter", () => tell(place));
    element.addEventListener("focus", () => tell(place));
    element.addEventListener("blur", () => { readout.hidden = true; });
  });
  svg.addEventListener("keydown", event => {
    const here = bars.indexOf(document.activeElement);
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: bars.length - 1 }[event.key];
    if (here < 0 || next === undefined) return;
    event.preventDefault();
    const there = bars[Math.max(0, Math.min(bars.length - 1, next))];
    bars[here].setAttribute("tabindex", "-1");
    there.setAttribute("tabindex", "0");
    there.focus();
  });
  return svg;
}

// Parts above zero are heaped upwards, adjustments below it downwards.
function stackOf(parts) {
  let low = 0;
  let high = 0;
  const spans = parts.map(part => (part < 0 ? [low += part, low - part] : [high, high += part]));
  return { spans, low, high };
}

// Where a number of kg stands, and the round numbers to mark: a step is 1, 2 or 5 times a power of ten.
function scaleOf(low, high, height) {
  const reach = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(reach / 4));
  const step = [1, 2, 5, 10].map(times => times * power).find(size => reach / size <= 5);
  const bottom = Math.floor(low / step) * step;
  const top = Math.max(bottom + step, Math.ceil(high / step) * step);
  const marks = Array.from({ length: Math.round((top - bottom) / step) + 1 }, (_, place) => bottom + place * step);
  const y = kg => EDGES.top + height * (1 - (kg - bottom) / (top - bottom));
  return { y, marks, step, unit: massUnit(Math.max(Math.abs(top), Math.abs(bottom))) };
}

function axis({ y, marks, step, unit }, width) {
  const digits = Math.max(0, -Math.floor(Math.log10(step / unit.kg) + 1e-9));
  const write = new Intl.NumberFormat(undefined, { minimumFractionDigits: Math.min(digits, 20), maximumFractionDigits: Math.min(digits, 20) });
  return s("g", { class: "axis", "aria-hidden": "true" },
    s("text", { x: 0, y: 10, class: "unit" }, `${unit.name} CO₂e`),
    marks.map(kg => [
      s("line", { class: Math.abs(kg) < step / 2 ? "zero" : "mark", x1: EDGES.left, x2: width - EDGES.right, y1: y(kg), y2: y(kg) }),
      s("text", { x: EDGES.left - 8, y: y(kg) + 4, "text-anchor": "end" }, write.format(kg / unit.kg)),
    ]));
}

function bar({ one, place, stack, scale: { y }, slot, isCompared }) {
  const left = EDGES.left + place * slot;
  const gap = slot > 4 ? Math.min(slot * 0.24, 18) : 0;
  const room = Math.min(slot - gap, 72);
  const begin = left + (slot - room) / 2;
  const before = isCompared ? room * 0.36 : 0;
  const [x, width] = [begin + before, room - before];
  const whole = { x, width, y: y(stack.high), height: y(stack.low) - y(stack.high) };
  const previous = isCompared && Number(one.previous.total);
  return s("g", { class: "bar", role: "img", tabindex: "-1", "aria-label": one.text },
    s("rect", { class: "behind", x: left, y: EDGES.top, width: slot, height: HEIGHT - EDGES.top - EDGES.bottom }),
    isCompared && s("rect", { class: "previous", x: begin, width: before, y: y(Math.max(previous, 0)), height: y(Math.min(previous, 0)) - y(Math.max(previous, 0)) }),
    stack.spans.map(([low, high], number) => high > low && s("rect", { class: `series-${number}`, x, width, y: y(high), height: y(low) - y(high) })),
    one.estimatedShare > 0 && s("rect", { ...whole, height: whole.height * one.estimatedShare, fill: "url(#hatch-estimated)" }),
    one.isIncomplete && whole.height > 0 && s("rect", { class: "cut", ...whole, fill: "url(#hatch-incomplete)" }),
    one.isIncomplete && whole.height === 0 && s("rect", { class: "cut", x, width, y: y(0) - 6, height: 6, fill: "url(#hatch-incomplete)" }));
}

function names(shown, slot) {
  const every = Math.ceil(LEAST_LABEL / slot);
  return s("g", { class: "names", "aria-hidden": "true" }, shown.map((one, place) => place % every === 0 && s("text", {
    x: EDGES.left + (place + 0.5) * slot, y: HEIGHT - 10, "text-anchor": "middle",
  }, one.shortName)));
}

function patterns() {
  const pattern = (id, size, ...content) => s("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse" }, ...content);
  return s("defs", {},
    pattern("hatch-estimated", 7, s("path", { class: "hatch", d: "M-1,8 L8,-1 M-1,1 L1,-1 M6,8 L8,6" })),
    pattern("hatch-incomplete", 6, s("circle", { class: "dot", cx: 1.5, cy: 1.5, r: 1 }), s("circle", { class: "dot", cx: 4.5, cy: 4.5, r: 1 })));
}

// All digits of a bar, beside it: to its right, or to its left where there is no room. Below the chart if that is narrow.
function showReadout(readout, one, series, x, width) {
  const parts = one.parts.map((digits, place) => ({ digits, place, name: series[place].name })).filter(part => part.digits !== "0");
  readout.replaceChildren(
    h("strong", {}, one.name),
    h("span", { class: "total" }, `${exact(one.total)} kg CO₂e`),
    series.length > 1 && parts.length > 0 ? h("ul", {}, parts.map(part =>
      h("li", {}, h("span", { class: `key series-${part.place}` }), h("span", {}, part.name), h("span", { class: "digits" }, exact(part.digits))))) : "",
    one.previous ? h("span", {}, `The year before: ${exact(one.previous.total)} kg`) : "",
    ...one.remarks.map(remark => h("em", {}, remark)));
  readout.hidden = false;
  const isLeft = x > width / 2;
  readout.style.left = isLeft ? "auto" : `${x + 16}px`;
  readout.style.right = isLeft ? `${width - x + 16}px` : "auto";
}
