// A stacked bar chart over time, as SVG. Each bar can be hovered or focused, and shows its exact figures.

import { exact, massUnit } from "./decimals.js";
import { digits, h, s } from "./dom.js";

const HEIGHT = 320;
const MARGIN = { top: 28, right: 6, bottom: 30, left: 58 };
const MIN_LABEL_WIDTH = 64; // Pixels between the labels below the axis.

// A figure that is redrawn when its width changes. bars: see describeBucket.
export function trendChart({ bars, series, name, isCompared }) {
  const readout = h("div", { class: "readout", "aria-live": "polite", hidden: true });
  const figure = h("figure", { class: "chart" }, readout);
  let drawnWidth = 0;
  const redraw = width => {
    if (Math.abs(width - drawnWidth) < 1 || width < 1) return;
    drawnWidth = width;
    figure.querySelector("svg")?.remove();
    figure.prepend(draw({ bars, series, name, isCompared, width, readout }));
  };
  new ResizeObserver(([{ contentRect }]) => redraw(contentRect.width)).observe(figure);
  figure.addEventListener("pointerleave", () => { readout.hidden = true; });
  figure.addEventListener("keydown", event => { if (event.key === "Escape") readout.hidden = true; });
  return figure;
}

function draw({ bars, series, name, isCompared, width, readout }) {
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const stacks = bars.map(bar => stackOf(bar.parts.map(Number)));
  const values = [...stacks.flatMap(({ low, high }) => [low, high]), ...(isCompared ? bars.map(bar => Number(bar.previous.total)) : [])];
  const scale = scaleOf(Math.min(0, ...values), Math.max(0, ...values), inner.height);
  const slot = inner.width / bars.length;
  const elements = bars.map((bar, index) => drawBar({ bar, index, stack: stacks[index], scale, slot, isCompared }));
  elements[0].setAttribute("tabindex", "0");
  const svg = s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "group", "aria-label": name },
    patterns(),
    axis(scale, width),
    s("g", { class: "bars" }, elements),
    labels(bars, slot));
  const select = index => {
    for (const other of svg.querySelectorAll(".bar.selected")) other.classList.remove("selected");
    elements[index].classList.add("selected");
    showReadout(readout, bars[index], series, MARGIN.left + (index + 0.5) * slot, width);
  };
  elements.forEach((element, index) => {
    element.addEventListener("pointerenter", () => select(index));
    element.addEventListener("focus", () => select(index));
    element.addEventListener("blur", () => { readout.hidden = true; });
  });
  svg.addEventListener("keydown", event => {
    const current = elements.indexOf(document.activeElement);
    const target = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: elements.length - 1 }[event.key];
    if (current < 0 || target === undefined) return;
    event.preventDefault();
    const next = elements[Math.max(0, Math.min(elements.length - 1, target))];
    elements[current].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  return svg;
}

// Stack positive parts upwards from zero, and negative ones (adjustments) downwards.
function stackOf(parts) {
  let low = 0;
  let high = 0;
  const spans = parts.map(part => (part < 0 ? [low += part, low - part] : [high, high += part]));
  return { spans, low, high };
}

// The y coordinate of a mass, and the marks of the axis, whose step is 1, 2 or 5 times a power of ten.
function scaleOf(low, high, height) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => span / size <= 5);
  const bottom = Math.floor(low / step) * step;
  const top = Math.max(bottom + step, Math.ceil(high / step) * step);
  const marks = Array.from({ length: Math.round((top - bottom) / step) + 1 }, (_, index) => bottom + index * step);
  const y = kg => MARGIN.top + height * (1 - (kg - bottom) / (top - bottom));
  return { y, marks, step, unit: massUnit(Math.max(Math.abs(top), Math.abs(bottom))) };
}

function axis({ y, marks, step, unit }, width) {
  const digits = Math.max(0, -Math.floor(Math.log10(step / unit.kg) + 1e-9));
  const numbers = new Intl.NumberFormat(undefined, { minimumFractionDigits: Math.min(digits, 20), maximumFractionDigits: Math.min(digits, 20) });
  return s("g", { class: "axis", "aria-hidden": "true" },
    s("text", { x: 0, y: 10, class: "unit" }, `${unit.name} CO₂e`),
    marks.map(kg => [
      s("line", { class: Math.abs(kg) < step / 2 ? "zero" : "mark", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(kg), y2: y(kg) }),
      s("text", { x: MARGIN.left - 8, y: y(kg) + 4, "text-anchor": "end" }, numbers.format(kg / unit.kg)),
    ]));
}

function drawBar({ bar, index, stack, scale: { y }, slot, isCompared }) {
  const left = MARGIN.left + index * slot;
  const gap = slot > 4 ? Math.min(slot * 0.24, 18) : 0;
  const fullWidth = Math.min(slot - gap, 72);
  const start = left + (slot - fullWidth) / 2;
  const previousWidth = isCompared ? fullWidth * 0.36 : 0;
  const [x, width] = [start + previousWidth, fullWidth - previousWidth];
  const whole = { x, width, y: y(stack.high), height: y(stack.low) - y(stack.high) };
  const previous = isCompared && Number(bar.previous.total);
  return s("g", { class: "bar", role: "img", tabindex: "-1", "aria-label": bar.text },
    s("rect", { class: "backdrop", x: left, y: MARGIN.top, width: slot, height: HEIGHT - MARGIN.top - MARGIN.bottom }),
    isCompared && s("rect", { class: "previous", x: start, width: previousWidth, y: y(Math.max(previous, 0)), height: y(Math.min(previous, 0)) - y(Math.max(previous, 0)) }),
    stack.spans.map(([low, high], number) => high > low && s("rect", { class: `series-${number}`, x, width, y: y(high), height: y(low) - y(high) })),
    bar.estimatedShare > 0 && s("rect", { ...whole, height: whole.height * bar.estimatedShare, fill: "url(#hatch-estimated)" }),
    bar.isIncomplete && whole.height > 0 && s("rect", { class: "incomplete-bar", ...whole, fill: "url(#hatch-incomplete)" }),
    bar.isIncomplete && whole.height === 0 && s("rect", { class: "incomplete-bar", x, width, y: y(0) - 6, height: 6, fill: "url(#hatch-incomplete)" }));
}

function labels(bars, slot) {
  const every = Math.ceil(MIN_LABEL_WIDTH / slot);
  return s("g", { class: "labels", "aria-hidden": "true" }, bars.map((bar, index) => index % every === 0 && s("text", {
    x: MARGIN.left + (index + 0.5) * slot, y: HEIGHT - 10, "text-anchor": "middle",
  }, bar.shortName)));
}

function patterns() {
  const pattern = (id, size, ...content) => s("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse" }, ...content);
  return s("defs", {},
    pattern("hatch-estimated", 7, s("path", { class: "hatch", d: "M-1,8 L8,-1 M-1,1 L1,-1 M6,8 L8,6" })),
    pattern("hatch-incomplete", 6, s("circle", { class: "dot", cx: 1.5, cy: 1.5, r: 1 }), s("circle", { class: "dot", cx: 4.5, cy: 4.5, r: 1 })));
}

// The exact figures of a bar: on its right, on its left if there is no space, or below a narrow chart.
function showReadout(readout, bar, series, x, width) {
  const parts = bar.parts.map((kg, index) => ({ kg, index, name: series[index].name })).filter(part => part.kg !== "0");
  readout.replaceChildren(
    h("strong", {}, bar.name),
    h("span", { class: "total" }, digits(exact(bar.total)), " kg CO₂e"),
    bar.other ? h("span", {}, `${bar.other.method}-based: `, digits(exact(bar.other.total)), " kg") : "",
    series.length > 1 && parts.length > 0 ? h("ul", {}, parts.map(part =>
      h("li", {}, h("span", { class: `key series-${part.index}` }), h("span", {}, part.name), digits(exact(part.kg))))) : "",
    bar.previous ? h("span", {}, "Previous year: ", ...(bar.previous.total === null ? ["no data"] : [digits(exact(bar.previous.total)), " kg"])) : "",
    ...bar.remarks.map(remark => h("em", {}, remark)));
  readout.hidden = false;
  const isRightHalf = x > width / 2;
  readout.style.left = isRightHalf ? "auto" : `${x + 16}px`;
  readout.style.right = isRightHalf ? `${width - x + 16}px` : "auto";
}
