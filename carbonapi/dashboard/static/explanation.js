// The explanation of a usage's CO2e, and its versions.

import { get, getAll } from "./api.js";
import { exact } from "./decimals.js";
import * as dialogs from "./dialogs.js";
import { digits, h } from "./dom.js";
import { timezone, userName, words } from "./reference_data.js";
import { table } from "./table.js";
import { day, instant } from "./times.js";

export async function showExplanation(id) {
  const [{ body: explanation }, versions] = await Promise.all([get(`/usages/${id}/explain`), getAll(`/usages/${id}/versions`)]);
  const row = (term, ...content) => [h("dt", {}, term), h("dd", {}, ...content)];
  const { usage, usage_type: type, conversion, factor } = explanation;
  dialogs.open([digits(exact(explanation.co2e_kg)), " kg CO₂e"], () => h("div", { class: "explanation" },
    h("p", { class: "calculation" }, withWholeNumbers(explanation.calculation)),
    h("dl", { class: "facts" },
      row("Usage", digits(exact(usage.amount)), ` ${usage.unit} of ${type.name}, ${instant(usage.usage_at, timezone())}${usage.usage_until ? ` to ${instant(usage.usage_until, timezone())}` : ""}, ${usage.quality}`),
      conversion.unit !== conversion.type_unit && row("Conversion", withWholeNumbers(conversion.calculation)),
      row("Factor, location-based", digits(exact(factor.factor)), ` kg CO2e per ${type.unit}`),
      row("Source", factor.source),
      row("Valid", validity(factor)),
      row("Selection", explanation.why),
      explanation.outdated && row("Outdated", "The catalogue now has other factors for this time. A restatement would apply them."),
      row("Hash (SHA-256)", h("code", {}, explanation.sha256))),
    ...(explanation.parts.length ? explanation.parts.flatMap(linesOfPart) : linesUnder("All numbers of this usage", explanation.lines)),
    h("h3", {}, "Versions"),
    table({ caption: "Versions of this usage", rows: versions, columns: [
      { title: "Version", isNumber: true, cell: version => version.version },
      { title: "Recorded", cell: version => instant(version.recorded_at, timezone()) },
      { title: "Superseded", cell: version => (version.superseded_at === null ? "current" : instant(version.superseded_at, timezone())) },
      { title: "Amount", isNumber: true, cell: version => `${exact(version.amount)} ${version.unit}` },
      { title: "kg CO₂e", isNumber: true, cell: version => exact(version.co2e_kg) },
      { title: "By", cell: version => userName(version.recorded_by) },
      { title: "Reason", isLong: true, cell: version => version.reason ?? version.superseded_reason ?? "" },
    ] })), { wide: true });
}

// An interval over a change of factor has other lines in each of its parts.
function linesOfPart({ starts_at: start, ends_at: end, provisional, lines }) {
  const title = `From ${instant(start, timezone())} to ${instant(end, timezone())}`;
  return linesUnder(provisional ? `${title}, provisional` : title, lines);
}

function linesUnder(title, lines) {
  return [h("h3", {}, title), table({ caption: title, rows: lines, columns: [
    { title: "Line", isLong: true, cell: line => [nameOf(line), h("span", { class: "hint" }, remarkOn(line))] },
    { title: "Scope", isNumber: true, cell: line => line.scope ?? "" },
    { title: "Category", cell: line => words(line.category ?? "") },
    { title: "Calculation", isLong: true, cell: line => withWholeNumbers(line.calculation) },
  ] })];
}

function nameOf({ line }) {
  return { location: "Location-based", market: "Market-based" }[line] ?? line;
}

function remarkOn({ fallback, outside_of_scopes: isOutside }) {
  if (isOutside) return " Outside of the scopes, so in no total.";
  return fallback ? " No market-based factor applies, so it has the location-based one." : "";
}

// A text of the API, in which numbers do not wrap.
function withWholeNumbers(text) {
  return text.split(/(\d[\d.,]*)/).map((part, index) => (index % 2 ? digits(part) : part));
}

export function validity({ valid_from: from, valid_until: until }) {
  return until === null ? `from ${day(from, "UTC")}` : `${day(from, "UTC")} to ${day(until, "UTC")}`;
}
