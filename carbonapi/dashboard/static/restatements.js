// Restatements: recalculating usages with the current factors, after a preview by month.

import { get, newKey, post } from "./api.js";
import { count, counted, exact } from "./decimals.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { field, form, submitForm } from "./forms.js";
import { timezone, typeName, typeOptions, userName } from "./reference_data.js";
import { changeParams, followLink, urlOf } from "./router.js";
import { pager, table } from "./table.js";
import { instant, instantOf, later } from "./times.js";

export async function show(view, params, isSameView) {
  if (!isSameView || !view.querySelector(".results")) {
    view.append(restatementForm(view), h("section", { class: "card", "aria-labelledby": "restated" },
      h("h2", { id: "restated" }, "Restatements"),
      h("div", { class: "results", "aria-busy": "true" })));
  }
  await showPage(view, params);
}

function restatementForm(view) {
  const outcome = h("div", { class: "outcome", "aria-live": "polite" });
  const restate = async (values, mode, key) => (await post("/restatements", { ...fieldsOf(values), mode }, key)).body;
  const element = form({
    submit: "Preview",
    send: async values => {
      outcome.replaceChildren();
      const preview = await restate(values, "preview");
      const key = newKey();
      const apply = () => submitForm(element, async () => {
        const { id } = await restate(values, "apply", key);
        outcome.replaceChildren(h("p", { class: "note", tabindex: "-1" }, id === null ? "Nothing to change." : `Restatement ${id} has been applied.`));
        outcome.firstElementChild.focus();
        announce("The restatement has been applied.");
        await showPage(view, {});
      });
      showPreview(outcome, preview, apply);
    },
  }, h("div", { class: "grid" },
    field({ name: "usage_type_id", label: "Usage type", options: [["", "All"], ...typeOptions({ archived: true })] }),
    field({ name: "start", label: "From", type: "date" }),
    field({ name: "end", label: "To (inclusive)", type: "date" }),
    field({ name: "region", label: "Region", autocomplete: "off", hint: "For example GB. Default: all regions." })),
  field({ name: "reason", label: "Reason", autocomplete: "off", hint: "Stored with each new version." }));
  element.addEventListener("change", () => outcome.replaceChildren());
  return h("section", { class: "card", "aria-labelledby": "restate" },
    h("h2", { id: "restate" }, "Restate usages"),
    h("p", { class: "lead" }, "Recorded usages keep their factors. A restatement applies the current factors of the catalogue, and records new versions."),
    element, outcome);
}

function fieldsOf({ usage_type_id: type, start, end, ...others }) {
  const midnight = date => instantOf(`${date}T00:00`, timezone());
  return { ...others, ...(type && { usage_type_ids: [Number(type)] }), ...(start && { start: midnight(start) }), ...(end && { end: midnight(later(end, { days: 1 })) }) };
}

const CHANGES = [
  { title: "Usages", isNumber: true, cell: change => count(Number(change.usage_count)) },
  { title: "Before, kg", isNumber: true, cell: change => exact(change.before_kg) },
  { title: "After, kg", isNumber: true, cell: change => exact(change.after_kg) },
  { title: "Difference, kg", isNumber: true, cell: change => signed(change.difference_kg) },
  { title: "Market-based difference, kg", isNumber: true, cell: change => signed(change.market_difference_kg) },
];

function showPreview(outcome, preview, apply) {
  const months = [...preview.months, { month: "Total", ...preview }];
  const types = preview.by_usage_type;
  const isEmpty = Number(preview.usage_count) === 0;
  outcome.replaceChildren(
    h("h3", {}, isEmpty ? "Nothing would change" : `${counted(preview.usage_count, "usage")} would change`),
    isEmpty ? "" : h("p", {}, `${signed(preview.difference_kg)} kg CO2e${preview.difference_percent === null ? "" : `, ${signed(preview.difference_percent)} %`}: ${preview.significant ? "significant" : "not significant"}, by your threshold of ${exact(preview.significance_threshold)} %.`),
    isEmpty ? "" : table({ caption: "Changes by month", rows: months, columns: [{ title: "Month", cell: month => month.month }, ...CHANGES] }),
    types.length > 1 ? table({ caption: "Changes by usage type", rows: types, columns: [{ title: "Usage type", cell: type => `${type.name} (${type.unit})` }, ...CHANGES] }) : "",
    isEmpty ? "" : h("div", { class: "actions" }, button("Apply", apply, { class: "primary" })));
  announce(isEmpty ? "Nothing would change." : `${counted(preview.usage_count, "usage")} would change.`);
}

function signed(digits) {
  return digits.startsWith("-") || digits === "0" ? exact(digits) : `+${exact(digits)}`;
}

async function showPage(view, params) {
  const { body: rows, pagination } = await get("/restatements", { page: params.page, page_size: 20 });
  const results = view.querySelector(".results");
  replaceContent(results,
    table({ caption: "List of restatements", rows, empty: "No restatements yet.", columns: [
      { title: "ID", isNumber: true, cell: restatement => restatement.id },
      { title: "Recorded", cell: restatement => instant(restatement.recorded_at, timezone()) },
      { title: "By", cell: restatement => userName(restatement.recorded_by) },
      { title: "Usage types", cell: restatement => restatement.usage_type_ids?.map(typeName).join(", ") ?? "All" },
      { title: "Usages", isNumber: true, cell: restatement => h("a", { href: urlOf("usages", { restatement_id: restatement.id }), onclick: followLink }, count(Number(restatement.usage_count))) },
      { title: "Difference, kg", isNumber: true, cell: restatement => signed(restatement.difference_kg) },
      { title: "Reason", isLong: true, cell: restatement => restatement.reason },
    ] }),
    pager(pagination, page => changeParams({ page })));
  results.removeAttribute("aria-busy");
}
