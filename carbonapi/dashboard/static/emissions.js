// Emissions over time: the controls, and the trend as a chart, a table and files.

import { get } from "./api.js";
import { count, counted, exact, percent, rounded, sum } from "./decimals.js";
import { announce, button, digits, h, replaceContent } from "./dom.js";
import { saveCsv, savePng, saveSvg } from "./downloads.js";
import { filterForm, showFilters } from "./filters.js";
import { clearErrors, field, showErrors } from "./forms.js";
import { Problem } from "./http.js";
import { canSeeOtherUsers, isAdmin, reference, timezone as ownTimezone, typeOptions } from "./reference_data.js";
import { changeParams } from "./router.js";
import { siteName, siteOptions } from "./sites.js";
import { table } from "./table.js";
import { dateRange, isTimezone, timezones } from "./times.js";
import { describeBucket, OTHER, seriesOf } from "./trend.js";
import { trendChart } from "./trend_chart.js";

const RANGES = [
  ["all", "All time"], ["this_month", "This month"], ["last_month", "Last month"], ["this_year", "This year"],
  ["last_year", "Last year"], ["last_12_months", "Last 12 months"], ["custom", "Custom"],
];
const BUCKETS = [["hour", "Hours"], ["day", "Days"], ["week", "Weeks"], ["month", "Months"], ["quarter", "Quarters"], ["year", "Years"]];
const METHODS = [["location", "Location-based"], ["market", "Market-based"]];
const SUMMARIES = new Set(["usage_type", "scope", "category", "user"]);
// The latest request. Responses to earlier ones are ignored.
let pending = new AbortController();

export async function show(main, params, isSameView) {
  if (!isSameView || !main.querySelector(".controls")) {
    main.append(controls(), h("div", { class: "results", "aria-busy": "true" }));
  }
  showControls(main.querySelector(".controls"), params);
  await showResults(main, params);
}

function hasSites() {
  return reference.sites.length > 0;
}

function controls() {
  const groups = [
    ["usage_type", "Usage type"], ["scope", "Scope"], ["category", "Category"],
    hasSites() && ["site", "Site"], reference.meters.length > 0 && ["meter", "Meter"], ["region", "Region"], canSeeOtherUsers() && ["user", "User"],
    isAdmin() && ["organization", "Organization"], ["none", "None"],
  ].filter(Boolean);
  const dates = { type: "date", min: "1900-01-01", max: "2199-12-31" };
  // A new range starts with its default buckets.
  return filterForm((name, value) => changeParams({ [name]: value, ...(name === "range" && { bucket: "" }) }),
    field({ name: "range", label: "Range", options: RANGES }),
    field({ name: "start", label: "From", ...dates }),
    field({ name: "end", label: "To (inclusive)", ...dates }),
    field({ name: "bucket", label: "Buckets", options: BUCKETS }),
    field({ name: "group_by", label: "Group by", options: groups }),
    field({ name: "compare", label: "Compare with", options: [["", "None"], ["previous_year", "Previous year"]] }),
    field({ name: "usage_type_id", label: "Usage type", options: [["", "All"], ...typeOptions({ archived: true })] }),
    hasSites() && field({ name: "site_id", label: "Site", options: [["", "All"], ...siteOptions({ archived: true })] }),
    field({ name: "method", label: "Method of scope 2", options: METHODS }),
    field({ name: "timezone", label: "Time zone", options: timezones(ownTimezone()).map(zone => [zone, zone]) }));
}

// The parameters, with the defaults of those that the URL does not have.
function withDefaults(params) {
  const name = RANGES.some(([known]) => known === params.range) ? params.range : "all";
  const timezone = params.timezone && isTimezone(params.timezone) ? params.timezone : ownTimezone();
  const bucket = { this_month: "day", last_month: "day" }[name] ?? "month";
  return { range: name, bucket, group_by: "usage_type", compare: "", usage_type_id: "", site_id: "", method: "location", ...params, timezone };
}

function showControls(form, params) {
  const values = withDefaults(params);
  showFilters(form, values);
  for (const name of ["start", "end"]) form.elements[name].closest(".field").hidden = values.range !== "custom";
}

async function showResults(main, params) {
  const form = main.querySelector(".controls");
  const results = main.querySelector(".results");
  const { range, start: from, end: to, group_by: groupBy, bucket, timezone, compare, usage_type_id, site_id, method } = withDefaults(params);
  pending.abort();
  pending = new AbortController();
  const { signal } = pending;
  results.setAttribute("aria-busy", "true");
  clearErrors(form);
  const query = { timezone, usage_type_id, site_id, method };
  try {
    Object.assign(query, dateRange(range, timezone, from, to));
    const [{ body: buckets }, { body: summary }] = await Promise.all([
      get("/emissions/trend", { ...query, bucket, compare, group_by: groupBy === "none" ? "" : groupBy }, signal),
      get("/emissions/summary", { ...query, by: SUMMARIES.has(groupBy) ? groupBy : "scope" }, signal),
    ]);
    const series = seriesOf(buckets, groupBy);
    const bars = buckets.map(each => describeBucket(each, series, { kind: bucket, timezone, method }));
    const isTableOpen = Boolean(results.querySelector("details")?.open);
    replaceContent(results, ...(Number(summary.usage_count) ? resultCards({ bars, series, summary, bucket, compare, timezone, method, isTableOpen, place: site_id ? siteName(site_id) : reference.organization.name }) : emptyCards(range, Boolean(usage_type_id || site_id))));
    announce(`${rounded(summary.co2e_kg)} CO2e, ${method}-based, in ${counted(bars.length, bucket)}.`);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem) || problem.status === 401 || problem.status === 0) throw problem;
    results.replaceChildren();
    showErrors(form, problem, { focus: false });
    announce(problem.message);
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

function emptyCards(range, hasFilter) {
  if (range === "all" && !hasFilter) {
    return [h("p", { class: "empty card" }, "No usages yet. Add one under Usages, or import a file under Imports.")];
  }
  const clear = () => changeParams({ usage_type_id: "", site_id: "", range: "", start: "", end: "", bucket: "" });
  return [h("div", { class: "empty card" },
    h("p", {}, hasFilter ? "No usages match these filters." : "No usages in this range."),
    button("Clear filters", clear))];
}

function resultCards({ bars, series, summary, bucket, compare, timezone, method, isTableOpen, place }) {
  const name = `Emissions by ${bucket}, ${method}-based, in kg CO2e`;
  const chart = trendChart({ bars, series, name, isCompared: Boolean(compare) });
  const file = `emissions-by-${bucket}`;
  return [
    tiles({ bars, summary, bucket, compare, place }),
    h("section", { class: "card", "aria-labelledby": "chart-title" },
      h("div", { class: "title" },
        h("h2", { id: "chart-title" }, `By ${bucket}, ${method}-based`),
        h("div", { class: "downloads", role: "group", "aria-label": "Download" },
          button("CSV", () => saveCsv(file, bars, series)),
          button("SVG", () => saveSvg(file, chart, name, series)),
          button("PNG", () => savePng(file, chart, name, series)))),
      legend(series, bars, compare),
      chart,
      h("p", { class: "hint" }, `Local times of ${timezone}. Use the arrow keys to move between bars.`)),
    h("details", { class: "card", open: isTableOpen },
      h("summary", {}, "Show as a table"),
      bucketTable(bars, series, compare, method)),
  ];
}

function tiles({ bars, summary, bucket, compare, place }) {
  const tile = (label, value, ...note) => h("div", { class: "tile card" }, h("dt", {}, label), h("dd", {}, h("strong", {}, value), h("span", {}, note)));
  const total = (label, kg) => tile(`Total, ${label.toLowerCase()}`, `${rounded(kg)} CO₂e`, digits(exact(kg)), " kg exactly");
  const incomplete = bars.filter(bar => bar.isIncomplete).length;
  const estimated = bars.filter(bar => bar.estimatedShare > 0).length;
  return h("dl", { class: "tiles" },
    METHODS.map(([method, label]) => total(label, summary[`${method}_co2e_kg`])),
    tile("Usages", count(Number(summary.usage_count)), `of ${place}`),
    compare && tile("Previous year", ...comparison(bars, bucket)),
    tile("Complete", `${count(bars.length - incomplete)} of ${count(bars.length)}`,
      `${bucket}s; ${estimated ? `${count(estimated)} partly estimated` : "none estimated"}`));
}

// The total of the previous year, and the change. Buckets without data in either year would distort both.
function comparison(bars, bucket) {
  const comparable = bars.filter(bar => bar.isComparable);
  const previous = sum(comparable.map(bar => bar.previous.total));
  const now = sum(comparable.map(bar => bar.total));
  const scope = `${count(comparable.length)} of ${counted(bars.length, bucket)} ${bars.length === 1 ? "is" : "are"} comparable`;
  if (!comparable.length) return ["No data", scope];
  const incomplete = comparable.filter(bar => bar.isIncomplete || !bar.previous.isComplete).length;
  const change = Number(previous) ? Number(now) / Number(previous) - 1 : null;
  const changed = change === null ? "" : `, ${percent(Math.abs(change))} ${change < 0 ? "less" : "more"}`;
  return [`${rounded(previous)} CO₂e`, `now ${rounded(now)}${changed}; ${scope}${incomplete ? `, ${count(incomplete)} with incomplete data` : ""}`];
}

function legend(series, bars, compare) {
  const total = Number(sum(series.map(group => group.total)));
  const key = (kind, text, share) => h("li", {}, h("span", { class: `key ${kind}`, "aria-hidden": "true" }), text, share && h("span", { class: "share" }, share));
  return h("ul", { class: "legend", "aria-label": "Legend" },
    series.map((group, index) => key(`series-${index}`, group.name, total > 0 && series.length > 1 && percent(Number(group.total) / total))),
    compare && key("previous", "previous year"),
    bars.some(bar => bar.estimatedShare > 0) && key("estimated", "partly estimated"),
    bars.some(bar => bar.isIncomplete) && key("incomplete", "incomplete"));
}

function bucketTable(bars, series, compare, method) {
  const columns = [
    { title: "Time", cell: bar => bar.name },
    { title: `kg CO₂e, ${method}-based`, isNumber: true, cell: bar => exact(bar.total) },
    { title: `${OTHER[method]}-based`, isNumber: true, cell: bar => exact(bar[OTHER[method]]) },
    ...(series.length > 1 ? series.map((group, index) => ({ title: group.name, isNumber: true, cell: bar => exact(bar.parts[index]) })) : []),
    { title: "Usages", isNumber: true, cell: bar => count(bar.usageCount) },
    compare && { title: "Previous year", isNumber: true, cell: bar => (bar.previous.total === null ? "no data" : exact(bar.previous.total)) },
    { title: "Coverage", isNumber: true, cell: bar => (bar.coverage === null ? "" : percent(bar.coverage)) },
    { title: "Estimated", isNumber: true, cell: bar => (bar.estimatedShare === null ? "" : percent(bar.estimatedShare)) },
    { title: "Remark", cell: bar => (bar.isPartial ? "partial" : bar.isFuture ? "future" : "") },
  ].filter(Boolean);
  return table({ caption: "Emissions over time", columns, rows: bars });
}
