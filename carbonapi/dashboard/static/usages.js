// The ledger as a list: filtered, sorted, a page at a time; adding, correcting and deleting what is in it.

import { get, remove } from "./api.js";
import { counted, exact } from "./decimals.js";
import { mayWrite, seesOthers, timezone, typeChoices, typeName, userChoices, userName } from "./directory.js";
import * as dialogs from "./dialogs.js";
import { button, h, say } from "./dom.js";
import { showExplanation } from "./explanation.js";
import { field, showFaults } from "./forms.js";
import { change, current } from "./state.js";
import { pager, table } from "./table.js";
import { instant, later } from "./times.js";
import { openUsage } from "./usage_form.js";
import { Problem } from "./wire.js";

const PAGE_SIZE = 25;
const FILTERS = ["usage_type_id", "user_id", "scope", "quality", "start", "end", "import_id", "restatement_id"];

export async function show(main, told, isSameView) {
  if (!isSameView || !main.querySelector(".controls")) {
    main.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, `Times are local to ${timezone()}.`),
        mayWrite() && button("Add a usage", () => openUsage({ done: refresh }), { class: "primary" })),
      filters(),
      h("div", { class: "results card", "aria-busy": "true" }));
  }
  const form = main.querySelector(".controls");
  for (const input of form.elements) input.value = told[input.name] ?? "";
  await showPage(main.querySelector(".results"), form, told);
}

function filters() {
  const any = text => ["", text];
  const changed = ({ target }) => change({ [target.name]: target.value, page: "" });
  return h("form", { class: "controls card", "aria-label": "Which usages", onchange: changed, onsubmit: event => event.preventDefault() },
    field({ name: "usage_type_id", label: "Usage type", options: [any("All"), ...typeChoices({ archived: true })] }),
    seesOthers() && field({ name: "user_id", label: "User", options: [any("All"), ...userChoices()] }),
    field({ name: "scope", label: "Scope", options: [any("All"), ["1", "Scope 1"], ["2", "Scope 2"], ["3", "Scope 3"]] }),
    field({ name: "quality", label: "Quality", options: [any("Any"), ["measured", "Measured"], ["estimated", "Estimated"]] }),
    field({ name: "start", label: "From", type: "date" }),
    field({ name: "end", label: "To, included", type: "date" }),
    field({ name: "import_id", label: "Import", inputmode: "numeric", placeholder: "Any" }),
    h("p", { class: "fault", role: "alert", "data-of": "form", hidden: true }));
}

async function refresh() {
  const main = document.getElementById("main");
  await showPage(main.querySelector(".results"), main.querySelector(".controls"), current().told);
}

async function showPage(results, form, told) {
  const sort = told.sort ?? "-usage_at";
  const query = Object.fromEntries(FILTERS.map(name => [name, told[name]]));
  if (told.end) query.end = later(told.end, { days: 1 });
  results.setAttribute("aria-busy", "true");
  try {
    const { body: rows, pagination } = await get("/usages", { ...query, sort, page: told.page, page_size: PAGE_SIZE });
    results.replaceChildren(
      table({ caption: "Usages", columns: columns(), rows, sort, onsort: order => change({ sort: order, page: "" }), empty: "There are no such usages." }),
      pager(pagination, page => change({ page })));
    say(`${counted(pagination.total, "usage")}.`);
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 422) throw problem;
    results.replaceChildren();
    showFaults(form, problem);
  } finally {
    results.removeAttribute("aria-busy");
  }
}

function columns() {
  const act = (text, usage, run) => button(text, run, { class: "quiet", "aria-label": `${text} the usage of ${instant(usage.usage_at, timezone())}` });
  return [
    { title: "Time", sort: "usage_at", of: usage => [instant(usage.usage_at, timezone()), usage.usage_until && h("span", { class: "until" }, ` to ${instant(usage.usage_until, timezone())}`)].filter(Boolean) },
    { title: "Usage type", of: usage => typeName(usage.usage_type_id) },
    { title: "Amount", sort: "amount", isNumber: true, of: usage => `${exact(usage.amount)} ${usage.unit}` },
    { title: "kg CO₂e", sort: "co2e_kg", isNumber: true, of: usage => button(exact(usage.co2e_kg), () => showExplanation(usage.id), { class: "link", title: "How this number came about", "aria-label": `${exact(usage.co2e_kg)} kg: how it came about` }) },
    { title: "Quality", of: usage => h("span", { class: `badge ${usage.quality}` }, usage.quality) },
    seesOthers() && { title: "User", of: usage => userName(usage.user_id) },
    { title: "Note", isLong: true, of: usage => usage.note ?? "" },
    mayWrite() && { title: "Change", of: usage => h("div", { class: "row" },
      act("Edit", usage, () => openUsage({ id: usage.id, done: refresh })),
      act("Delete", usage, () => askToDelete(usage))) },
  ].filter(Boolean);
}

async function askToDelete({ id, usage_at: at, usage_type_id: type, amount, unit }) {
  const { etag } = await get(`/usages/${id}`);
  dialogs.confirm({
    title: "Delete this usage?",
    question: `${typeName(type)}, ${exact(amount)} ${unit}, ${instant(at, timezone())}. It is gone from lists and totals; what was believed of it stays in its versions.`,
    submit: "Delete",
    act: async reason => {
      await remove(`/usages/${id}`, { reason }, etag);
      say("Deleted.");
      await refresh();
    },
  });
}
