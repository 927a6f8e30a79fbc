// Emissions over time: what is asked for, the chart of the answer, the same numbers as a table, and as files.

import { get } from "./api.js";
import { barChart } from "./chart.js";
import { count, counted, exact, percent, rounded, sum } from "./decimals.js";
import { directory, isAdmin, seesOthers, timezone as ownTimezone, typeChoices } from "./directory.js";
import { button, h, say } from "./dom.js";
import { saveCsv, savePng, saveSvg } from "./downloads.js";
import { clearFaults, field, showFaults } from "./forms.js";
import { change } from "./state.js";
import { table } from "./table.js";
import { isTimezone, range, timezones } from "./times.js";
import { seriesOf, toldOf } from "./trend.js";
import { Problem } from "./wire.js";

const RANGES = [
  ["all", "All there is"], ["this_month", "This month"], ["last_month", "Last month"], ["this_year", "This year"],
  ["last_year", "Last year"], ["last_12_months", "Last 12 months"], ["free", "From … to …"],
];
const BUCKETS = [["hour", "Hours"], ["day", "Days"], ["week", "Weeks"], ["month", "Months"], ["quarter", "Quarters"], ["year", "Years"]];
const SUMMARIES = new Set(["usage_type", "scope", "user"]);
// Only the last answer that was asked for is shown, however late others come.
let asking = new AbortController();

export async function show(main, told, isSameView) {
  if (!isSameView || !main.querySelector(".controls")) {
    main.append(controls(), h("div", { class: "results", "aria-busy": "true" }));
  }
  synchronize(main.querySelector(".controls"), told);
  await showResults(main, told);
}

function controls() {
  const groups = [
    ["usage_type", "Usage type"], ["scope", "Scope"], seesOthers() && ["user", "User"],
    isAdmin() && ["organization", "Organization"], ["none", "Nothing"],
  ].filter(Boolean);
  const days = { type: "date", min: "1900-01-01", max: "2199-12-31" };
  return h("form", { class: "controls card", "aria-label": "What is shown", onchange: changed, onsubmit: event => event.preventDefault() },
    field({ name: "range", label: "Range", options: RANGES }),
    field({ name: "start", label: "From", ...days }),
    field({ name: "end", label: "To, included", ...days }),
    field({ name: "bucket", label: "In", options: BUCKETS }),
    field({ name: "group_by", label: "Split by", options: groups }),
    field({ name: "compare", label: "Beside it", options: [["", "Nothing"], ["previous_year", "A year before"]] }),
    field({ name: "usage_type_id", label: "Usage type", options: [["", "All"], ...typeChoices({ archived: true })] }),
    field({ name: "method", label: "Method", options: [["", "Any"], ["location", "Location-based"], ["market", "Market-based"]] }),
    field({ name: "timezone", label: "Time zone", options: timezones(ownTimezone()).map(zone => [zone, zone]) }),
    h("p", { class: "fault", role: "alert", "data-of": "form", hidden: true }));
}

// What a link may leave unsaid.
function completed(told) {
  const name = RANGES.some(([known]) => known === told.range) ? told.range : "all";
  const timezone = told.timezone && isTimezone(told.timezone) ? told.timezone : ownTimezone();
  const bucket = { this_month: "day", last_month: "day" }[name] ?? "month";
  return { range: name, bucket, group_by: "usage_type", compare: "", usage_type_id: "", method: "", ...told, timezone };
}

function synchronize(form, told) {
  const complete = completed(told);
  for (const input of form.elements) input.value = complete[input.name] ?? "";
  for (const name of ["start", "end"]) form.elements[name].closest(".field").hidden = complete.range !== "free";
}

function changed({ target }) {
  // Another range is shown in the buckets that suit it.
  change({ [target.name]: target.value, ...(target.name === "range" && { bucket: "" }) });
}

async function showResults(main, told) {
  const form = main.querySelector(".controls");
  const results = main.querySelector(".results");
  const { range: name, start: from, end: to, group_by: groupBy, bucket, timezone, compare, usage_type_id, method } = completed(told);
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  results.setAttribute("aria-busy", "true");
  clearFaults(form);
  const asked = { timezone, usage_type_id, method };
  try {
    Object.assign(asked, range(name, timezone, from, to));
    const [{ body: buckets }, { body: summary }] = await Promise.all([
      get("/emissions/trend", { ...asked, bucket, compare, group_by: groupBy === "none" ? "" : groupBy }, signal),
      get("/emissions/summary", { ...asked, by: SUMMARIES.has(groupBy) ? groupBy : "scope" }, signal),
    ]);
    const series = seriesOf(buckets, groupBy);
    const shown = buckets.map(one => toldOf(one, series, bucket, timezone));
    results.replaceChildren(...(buckets.length ? content({ shown, series, summary, bucket, compare, timezone }) : nothing(name)));
    say(`${rounded(summary.co2e_kg)} CO2e in ${counted(shown.length, bucket)}.`);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem) || problem.status === 401 || problem.status === 0) throw problem;
    results.replaceChildren();
    showFaults(form, problem);
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

function nothing(name) {
  return [h("p", { class: "empty card" }, name === "all"
    ? "There are no usages yet. Add one under Usages, or book a file under Imports."
    : "There are no usages in this range.")];
}

function content({ shown, series, summary, bucket, compare, timezone }) {
  const name = `Emissions by ${bucket}, in kg CO2e`;
  const chart = barChart({ shown, series, name, isCompared: Boolean(compare) });
  const file = `emissions-by-${bucket}`;
  return [
    tiles({ shown, summary, bucket, compare }),
    h("section", { class: "card", "aria-labelledby": "chart-title" },
      h("div", { class: "title" },
        h("h2", { id: "chart-title" }, `By ${bucket}`),
        h("div", { class: "downloads", role: "group", "aria-label": "Download" },
          button("CSV", () => saveCsv(file, shown, series)),
          button("SVG", () => saveSvg(file, chart, name, series)),
          button("PNG", () => savePng(file, chart, name, series)))),
      legend(series, shown, compare),
      chart,
      h("p", { class: "hint" }, `Local time of ${timezone}. The arrow keys go from bar to bar.`)),
    h("details", { class: "card" },
      h("summary", {}, "The same numbers as a table"),
      numbers(shown, series, compare)),
  ];
}

function tiles({ shown, summary, bucket, compare }) {
  const tile = (label, value, note) => h("div", { class: "tile card" }, h("dt", {}, label), h("dd", {}, h("strong", {}, value), h("span", {}, note)));
  const incomplete = shown.filter(one => one.isIncomplete).length;
  const estimated = shown.filter(one => one.estimatedShare > 0).length;
  const before = compare && sum(shown.map(one => one.previous.total));
  const isWhole = compare && shown.every(one => one.previous.isComplete);
  const change = compare && Number(before) ? Number(summary.co2e_kg) / Number(before) - 1 : null;
  return h("dl", { class: "tiles" },
    tile("In all", `${rounded(summary.co2e_kg)} CO₂e`, `${exact(summary.co2e_kg)} kg, to the last digit`),
    tile("Usages", count(Number(summary.usage_count)), `of ${directory.organization.name}`),
    compare && tile("The year before", `${rounded(before)} CO₂e`,
      change === null ? "nothing to compare with" : `now ${percent(Math.abs(change))} ${change < 0 ? "less" : "more"}${isWhole ? "" : "; its data are incomplete"}`),
    tile("Complete", `${count(shown.length - incomplete)} of ${count(shown.length)}`,
      `${bucket}s; ${estimated ? `${count(estimated)} partly estimated` : "nothing estimated"}`));
}

function legend(series, shown, compare) {
  const all = Number(sum(series.map(one => one.total)));
  const key = (kind, text, share) => h("li", {}, h("span", { class: `key ${kind}`, "aria-hidden": "true" }), text, share && h("span", { class: "share" }, share));
  return h("ul", { class: "legend", "aria-label": "Legend" },
    series.map((one, place) => key(`series-${place}`, one.name, all > 0 && series.length > 1 && percent(Number(one.total) / all))),
    compare && key("previous", "the year before"),
    shown.some(one => one.estimatedShare > 0) && key("estimated", "partly estimated"),
    shown.some(one => one.isIncomplete) && key("incomplete", "incomplete"));
}

function numbers(shown, series, compare) {
  const columns = [
    { title: "Time", of: one => one.name },
    { title: "kg CO₂e", isNumber: true, of: one => exact(one.total) },
    ...(series.length > 1 ? series.map((group, place) => ({ title: group.name, isNumber: true, of: one => exact(one.parts[place]) })) : []),
    { title: "Usages", isNumber: true, of: one => count(one.usageCount) },
    compare && { title: "The year before", isNumber: true, of: one => exact(one.previous.total) },
    { title: "Has data", isNumber: true, of: one => (one.coverage === null ? "" : percent(one.coverage)) },
    { title: "Estimated", isNumber: true, of: one => (one.estimatedShare === null ? "" : percent(one.estimatedShare)) },
    { title: "Remark", of: one => (one.isPartial ? "cut by the range" : one.isToCome ? "yet to come" : "") },
  ].filter(Boolean);
  return table({ caption: "Emissions over time", columns, rows: shown });
}
