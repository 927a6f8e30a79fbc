// How a number came about, and what was believed before it.

import { get, getAll } from "./api.js";
import { exact } from "./decimals.js";
import { timezone, userName } from "./directory.js";
import * as dialogs from "./dialogs.js";
import { h } from "./dom.js";
import { table } from "./table.js";
import { day, instant } from "./times.js";

export async function showExplanation(id) {
  const [{ body: told }, versions] = await Promise.all([get(`/usages/${id}/explain`), getAll(`/usages/${id}/versions`)]);
  const row = (term, ...content) => [h("dt", {}, term), h("dd", {}, ...content)];
  const { usage, conversion, factor } = told;
  dialogs.open(`${exact(told.co2e_kg)} kg CO₂e`, () => h("div", { class: "explanation" },
    h("p", { class: "calculation" }, told.calculation),
    h("dl", { class: "facts" },
      row("Given", `${exact(usage.amount)} ${usage.unit} of ${told.usage_type.name}, ${instant(usage.usage_at, timezone())}${usage.usage_until ? ` to ${instant(usage.usage_until, timezone())}` : ""}, ${usage.quality}`),
      conversion.unit !== conversion.type_unit && row("Conversion", conversion.calculation),
      row("Factor", `${exact(factor.factor)} kg CO2e per ${told.usage_type.unit}`),
      row("Source", factor.source),
      row("In force", validity(factor)),
      row("Why this one", told.why),
      told.outdated && row("Since then", "The catalogue has another factor for this time now: a restatement would book it."),
      row("Hash (SHA-256)", h("code", {}, told.sha256))),
    h("h3", {}, "Versions"),
    table({ caption: "Versions of this usage", rows: versions, columns: [
      { title: "Version", isNumber: true, of: one => one.version },
      { title: "Believed from", of: one => instant(one.recorded_at, timezone()) },
      { title: "Until", of: one => (one.superseded_at === null ? "now" : instant(one.superseded_at, timezone())) },
      { title: "Amount", isNumber: true, of: one => `${exact(one.amount)} ${one.unit}` },
      { title: "kg CO₂e", isNumber: true, of: one => exact(one.co2e_kg) },
      { title: "By", of: one => userName(one.recorded_by) },
      { title: "Why", isLong: true, of: one => one.reason ?? one.superseded_reason ?? "" },
    ] })), { wide: true });
}

export function validity({ valid_from: from, valid_until: until }) {
  return `${day(from, "UTC")} to ${until === null ? "further notice" : day(until, "UTC")}`;
}
