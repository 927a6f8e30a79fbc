// The list of usages, with filters; adding, correcting and deleting usages.

import { get, remove } from "./api.js";
import { counted, exact } from "./decimals.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { showExplanation } from "./explanation.js";
import { filterForm, showFilters } from "./filters.js";
import { clearErrors, field, showErrors, valuesOf } from "./forms.js";
import { Problem } from "./http.js";
import { canSeeOtherUsers, canWrite, reference, timezone, typeName, typeOptions, userName, userOptions } from "./reference_data.js";
import { changeParams, currentRoute } from "./router.js";
import { placeName, siteOptions } from "./sites.js";
import { pager, table } from "./table.js";
import { instant, later } from "./times.js";
import { openUsageForm } from "./usage_form.js";

const PAGE_SIZE = 25;
const FILTERS = ["usage_type_id", "site_id", "user_id", "scope", "quality", "start", "end", "import_id", "restatement_id", "outdated"];
// The latest request. Responses to earlier ones are ignored.
let pending = new AbortController();

export async function show(view, params, isSameView) {
  // Refresh this view after a change, unless the user has left it.
  const refresh = () => (view.isConnected ? showPage(view, currentRoute().params, refresh) : undefined);
  if (!isSameView || !view.querySelector(".controls")) {
    view.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, `Local times of ${timezone()}.`),
        canWrite() && button("Add a usage", () => openUsageForm({ onSaved: refresh }), { class: "primary" })),
      filters(),
      h("div", { class: "results card", "aria-busy": "true" }));
  }
  showFilters(view.querySelector(".controls"), params);
  await showPage(view, params, refresh);
}

function filters() {
  const any = text => ["", text];
  return filterForm((name, value) => changeParams({ [name]: value, page: "" }),
    field({ name: "usage_type_id", label: "Usage type", options: [any("All"), ...typeOptions({ archived: true })] }),
    reference.sites.length > 0 && field({ name: "site_id", label: "Site", options: [any("All"), ...siteOptions({ archived: true })] }),
    canSeeOtherUsers() && field({ name: "user_id", label: "User", options: [any("All"), ...userOptions()] }),
    field({ name: "scope", label: "Scope", options: [any("All"), ["1", "Scope 1"], ["2", "Scope 2"], ["3", "Scope 3"]] }),
    field({ name: "quality", label: "Quality", options: [any("Any"), ["measured", "Measured"], ["estimated", "Estimated"]] }),
    field({ name: "outdated", label: "Factors", options: [any("Any"), ["true", "Would get others now"], ["false", "Up to date"]] }),
    field({ name: "start", label: "From", type: "date" }),
    field({ name: "end", label: "To (inclusive)", type: "date" }),
    field({ name: "import_id", label: "Import", inputmode: "numeric", placeholder: "Any" }));
}

async function showPage(view, params, refresh) {
  const results = view.querySelector(".results");
  const form = view.querySelector(".controls");
  const sort = params.sort ?? "-usage_at";
  const query = Object.fromEntries(FILTERS.map(name => [name, params[name]]));
  if (params.end) query.end = later(params.end, { days: 1 });
  pending.abort();
  pending = new AbortController();
  const { signal } = pending;
  results.setAttribute("aria-busy", "true");
  clearErrors(form);
  try {
    const { body: rows, pagination } = await get("/usages", { ...query, sort, page: params.page, page_size: PAGE_SIZE }, signal);
    const onsort = order => changeParams({ sort: order, page: "" });
    replaceContent(results,
      rows.length ? table({ caption: "Usages", columns: columns(refresh), rows, sort, onsort }) : noUsages(form, params),
      pager(pagination, page => changeParams({ page })));
    announce(`${counted(pagination.total, "usage")}.`);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem) || problem.status !== 422) throw problem;
    results.replaceChildren();
    showErrors(form, problem, { focus: false });
    announce(problem.message);
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

function noUsages(form, params) {
  const isFiltered = Object.keys(valuesOf(form)).length > 0 || Boolean(params.restatement_id);
  if (!isFiltered) return h("p", { class: "empty" }, canWrite() ? "No usages yet. Add one, or import a file under Imports." : "No usages yet.");
  const clear = () => changeParams(Object.fromEntries([...FILTERS, "page"].map(name => [name, ""])));
  return h("div", { class: "empty" }, h("p", {}, "No usages match these filters."), button("Clear filters", clear, { "data-key": "clear" }));
}

function columns(refresh) {
  const action = (text, usage, run) => button(text, run, { class: "quiet", "data-key": `${text} ${usage.id}`, "aria-label": `${text} the usage of ${instant(usage.usage_at, timezone())}` });
  return [
    { title: "Time", sort: "usage_at", cell: usage => [instant(usage.usage_at, timezone()), usage.usage_until && h("span", { class: "until" }, ` to ${instant(usage.usage_until, timezone())}`)].filter(Boolean) },
    { title: "Usage type", cell: usage => typeName(usage.usage_type_id) },
    reference.sites.length > 0 && { title: "Site or meter", cell: placeName },
    { title: "Amount", sort: "amount", isNumber: true, cell: usage => `${exact(usage.amount)} ${usage.unit}` },
    { title: "kg CO₂e, location", sort: "co2e_kg", isNumber: true, cell: usage => button(exact(usage.co2e_kg), () => showExplanation(usage.id), { class: "link", title: "Explain", "data-key": `explain ${usage.id}`, "aria-label": `${exact(usage.co2e_kg)} kg: explain` }) },
    { title: "kg CO₂e, market", isNumber: true, cell: usage => exact(usage.market_co2e_kg) },
    { title: "Quality", cell: usage => [h("span", { class: `badge ${usage.quality}` }, usage.quality), usage.provisional && h("span", { class: "badge", title: "The emission factor had ended before the usage" }, "provisional")].filter(Boolean) },
    canSeeOtherUsers() && { title: "User", cell: usage => userName(usage.user_id) },
    { title: "Note", isLong: true, cell: usage => usage.note ?? "" },
    canWrite() && { title: "Actions", cell: usage => h("div", { class: "row" },
      action("Edit", usage, () => openUsageForm({ id: usage.id, onSaved: refresh })),
      action("Delete", usage, () => confirmDelete(usage, refresh))) },
  ].filter(Boolean);
}

async function confirmDelete({ id, usage_at: at, usage_type_id: type, amount, unit }, refresh) {
  const { etag } = await get(`/usages/${id}`);
  dialogs.confirm({
    title: "Delete this usage?",
    question: `${typeName(type)}, ${exact(amount)} ${unit}, ${instant(at, timezone())}. Lists and totals will no longer include it. Its versions remain.`,
    submit: "Delete",
    act: async reason => {
      await remove(`/usages/${id}`, { reason }, etag);
      announce("Deleted.");
    },
    done: refresh,
  });
}
