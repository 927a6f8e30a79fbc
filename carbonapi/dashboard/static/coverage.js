// A calendar of coverage: which months of a year have data, for each meter, or type at a site, and their gaps.

import { get } from "./api.js";
import { counted, percent } from "./decimals.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { filterForm, showFilters } from "./filters.js";
import { field } from "./forms.js";
import { canWrite, reference, timezone, typeName } from "./reference_data.js";
import { changeParams, currentRoute } from "./router.js";
import { placeName, siteOptions } from "./sites.js";
import { table } from "./table.js";
import { bucketNames, instant, later, localTime, today } from "./times.js";
import { openUsageForm } from "./usage_form.js";

const MONTHS = Array.from({ length: 12 }, (_, index) => String(index + 1).padStart(2, "0"));
// The latest request. Responses to earlier ones are ignored.
let pending = new AbortController();

export async function show(view, params, isSameView) {
  if (!isSameView || !view.querySelector(".controls")) {
    const years = await yearsWithUsages();
    view.append(
      filterForm((name, value) => changeParams({ [name]: value }),
        field({ name: "year", label: "Year", options: years.map(year => [year, year]) }),
        reference.sites.length > 0 && field({ name: "site_id", label: "Site", options: [["", "All"], ...siteOptions({ archived: true })] })),
      h("div", { class: "results card", "aria-busy": "true" }));
    view.dataset.year = years[0];
  }
  const values = filtersOf(view, params);
  showFilters(view.querySelector(".controls"), values);
  await showCalendar(view, values);
}

function filtersOf(view, { year, site_id }) {
  return { year: /^\d{4}$/.test(year) ? year : view.dataset.year, site_id };
}

// The years from the first usage to the last, latest first. Meters without usages have gaps in the current year, too.
async function yearsWithUsages() {
  const ends = await Promise.all(["usage_at", "-usage_at"].map(sort => get("/usages", { sort, page_size: 1 })));
  const now = Number(today(timezone()).slice(0, 4));
  const [first = now, last = now] = ends.flatMap(({ body }) => body).map(usage => Number(localTime(usage.usage_at, timezone()).slice(0, 4)));
  const years = Array.from({ length: last - first + 1 }, (_, index) => last - index);
  return [...new Set([...years, now])].map(String);
}

// No data is expected of the future.
function rangeOf(year) {
  const start = `${year}-01-01`;
  const now = today(timezone());
  const end = now.startsWith(`${year}-`) && now > start ? now : later(start, { months: now === start ? 1 : 12 });
  return { start, end };
}

async function showCalendar(view, { year, site_id }) {
  const results = view.querySelector(".results");
  pending.abort();
  pending = new AbortController();
  const { signal } = pending;
  results.setAttribute("aria-busy", "true");
  const refresh = () => (view.isConnected ? showCalendar(view, filtersOf(view, currentRoute().params)) : undefined);
  try {
    const { body } = await get("/coverage", { ...rangeOf(year), timezone: timezone(), site_id }, signal);
    const summary = body.coverage === null ? "No data is expected." : `${share(body.coverage)} of the time has data. ${body.complete_months} of ${counted(body.expected_months, "month")} are complete.`;
    replaceContent(results, h("p", { class: "lead" }, summary), calendar(year, body.series, refresh),
      h("p", { class: "hint" }, `Local times of ${timezone()}. A gap is a button that shows its times.`));
    announce(summary);
  } catch (problem) {
    if (problem.name !== "AbortError") throw problem;
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

// Rounded down, so that only complete time is 100%.
function share(coverage) {
  return percent(Math.floor(Math.round(Number(coverage) * 1e6) / 1e3) / 1e3);
}

function calendar(year, series, refresh) {
  const name = month => bucketNames(`${year}-${month}-15T12:00:00Z`, "month", "UTC");
  return h("div", { class: "calendar" }, table({
    caption: `Coverage by month of ${year}`, rows: series, empty: "No usages or meters in this year.",
    columns: [
      { title: "Meter or site", isHeader: true, cell: each => [placeName(each) || "No site", h("span", { class: "hint" }, typeName(each.usage_type_id))] },
      ...MONTHS.map(month => ({ title: name(month)[1].split(" ")[0], isNumber: true, cell: each => cellOf(each, month, name(month)[0], refresh) })),
    ],
  }));
}

function cellOf(series, month, monthName, refresh) {
  const found = series.months.find(({ starts_at: start }) => localTime(start, timezone()).slice(5, 7) === month);
  if (!found || found.coverage === null) return h("span", { class: "cell" }, "–", h("span", { class: "visually-hidden" }, " none expected"));
  const text = share(found.coverage);
  if (Number(found.coverage) === 1) return h("span", { class: "cell complete" }, text);
  const title = `${placeName(series) || "No site"}, ${typeName(series.usage_type_id)}, ${monthName}`;
  return button(text, () => showGaps(series, found, title, refresh), {
    class: `cell ${Number(found.coverage) ? "partly" : "missing"}`,
    "data-key": `gaps ${[series.usage_type_id, series.site_id, series.meter_id, month].join(" ")}`,
    "aria-label": `${text}, ${title}: show the gaps`,
  });
}

// The parts of the gaps within the month, each with a link to fill it.
function showGaps(series, month, title, refresh) {
  const gaps = series.gaps
    .map(({ starts_at: start, ends_at: end }) => [latest(start, month.starts_at), earliest(end, month.ends_at)])
    .filter(([start, end]) => Date.parse(start) < Date.parse(end));
  const { usage_type_id, site_id, meter_id } = series;
  dialogs.open(`Gaps of ${title}`, close => h("ul", { class: "stack" }, gaps.map(([start, end]) => {
    const span = `${instant(start, timezone())} to ${instant(end, timezone())}`;
    const add = () => {
      close();
      return openUsageForm({ values: { usage_type_id, site_id, meter_id, usage_at: start, usage_until: end }, onSaved: refresh });
    };
    return h("li", { class: "title" }, span, canWrite() && button("Add a usage", add, { class: "link", "aria-label": `Add a usage from ${span}` }));
  })));
}

function latest(one, other) {
  return Date.parse(one) > Date.parse(other) ? one : other;
}

function earliest(one, other) {
  return Date.parse(one) < Date.parse(other) ? one : other;
}
