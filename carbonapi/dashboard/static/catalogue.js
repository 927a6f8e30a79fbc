// Usage types and their emission factors.

import { get, post } from "./api.js";
import { currentFactor } from "./current_factor.js";
import { exact } from "./decimals.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { validity } from "./explanation.js";
import { filterForm, showFilters } from "./filters.js";
import { field, form } from "./forms.js";
import { canManage, isAdmin, loadUsageTypes, reference, timezone, words } from "./reference_data.js";
import { changeParams, currentRoute } from "./router.js";
import { pager, table } from "./table.js";
import { instantOf, today } from "./times.js";
import { upstreamLines } from "./upstream_lines.js";

const BLANK = ["", "None"];
const SCOPES = [["1", "1: direct emissions"], ["2", "2: purchased energy"], ["3", "3: other indirect emissions"]];
// Of the GHG Protocol, by scope.
const CATEGORIES = `
  stationary_combustion mobile_combustion process_emissions fugitive_emissions
  purchased_electricity purchased_heat_steam_cooling
  purchased_goods_and_services capital_goods fuel_and_energy_related upstream_transport waste business_travel
  employee_commuting upstream_leased_assets downstream_transport processing_of_sold_products use_of_sold_products
  end_of_life downstream_leased_assets franchises investments`.trim().split(/\s+/).map(name => [name, words(name)]);
const PAGE_SIZE = 50;

export async function show(view, params, isSameView) {
  if (!isSameView || !view.querySelector(".types")) {
    view.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, "Your organization's own factors take precedence over shared ones, and those of its region over general ones."),
        canManage() && button("Add a usage type", () => addType(view), { class: "primary" })),
      filterForm((name, value) => changeParams({ [name]: value, types_page: "" }),
        field({ name: "q", label: "Search", type: "search", autocomplete: "off", placeholder: "Name, category or description" }),
        field({ name: "scope", label: "Scope", options: [["", "All"], ...SCOPES] }),
        field({ name: "category", label: "Category", options: [["", "All"], ...CATEGORIES] })),
      h("div", { class: "types card" }),
      h("section", { class: "factors card", "aria-live": "polite", hidden: true }));
  }
  const section = view.querySelector(".factors");
  const shown = section.dataset.type;
  showFilters(view.querySelector(".controls"), params);
  const query = queryOf(params);
  if (!isSameView || view.querySelector(".types").dataset.query !== JSON.stringify(query)) await showTypes(view, query);
  else markType(view);
  section.hidden = !params.usage_type_id;
  section.dataset.type = params.usage_type_id ?? "";
  if (!params.usage_type_id) return;
  await showFactors(view, params);
  // The factors of another type may be below the screen.
  if (isSameView && shown !== params.usage_type_id) section.querySelector("h2").focus();
}

// Mark the usage type whose factors are shown.
function markType(view) {
  const { usage_type_id: id } = currentRoute().params;
  for (const control of view.querySelectorAll(".types [data-key]")) {
    if (control.dataset.key === `factors ${id}`) control.setAttribute("aria-current", "true");
    else control.removeAttribute("aria-current");
  }
}

function queryOf({ q, scope, category, types_page: page }) {
  return { q, scope, category, page, page_size: PAGE_SIZE };
}

async function showTypes(view, query = queryOf(currentRoute().params)) {
  const { region } = reference.organization;
  const types = view.querySelector(".types");
  types.dataset.query = JSON.stringify(query);
  const { body: rows, pagination } = await get("/usage-types", query);
  if (types.dataset.query !== JSON.stringify(query)) return; // Another search has begun since.
  replaceContent(types, table({ caption: "Usage types", rows, empty: "No usage types match this search.", columns: [
    { title: "Usage type", cell: type => type.name },
    { title: "Unit", cell: type => type.unit },
    { title: "Scope", isNumber: true, cell: type => type.scope ?? "" },
    { title: "Category", cell: type => (type.outside_of_scopes ? "outside of scopes" : words(type.category ?? "")) },
    { title: "Owner", cell: type => (type.organization_id === null ? "shared" : "your organization") },
    { title: `Current kg CO₂e per unit${region ? ` in ${region}` : ""}`, isNumber: true, cell: factorCell },
    { title: "Description", isLong: true, cell: type => [type.archived && h("span", { class: "badge" }, "archived"), type.description].filter(Boolean) },
    { title: "Actions", cell: type => button("Factors", () => changeParams({ usage_type_id: type.id, page: "" }), { class: "quiet", "data-key": `factors ${type.id}`, "aria-label": `Factors of ${type.name} (${type.unit})` }) },
  ] }), pager(pagination, page => changeParams({ types_page: page }), "Pages of usage types"));
  announce(`${pagination.total} usage types.`);
  markType(view);
}

// The factor is shown once it has been found, which takes a request for each type.
function factorCell(type) {
  const cell = h("span", { "aria-busy": "true" }, "…");
  currentFactor(type.id).then(factor => {
    const own = factor && factor.organization_id !== null && "your own";
    const origin = factor && [factor.region, own].filter(Boolean).join(", ");
    cell.replaceChildren(factor ? exact(factor.factor) : "none", origin ? h("span", { class: "hint" }, ` ${origin}`) : "");
  }).finally(() => cell.removeAttribute("aria-busy"));
  return cell;
}

async function showFactors(view, params) {
  const type = reference.usageTypes.find(known => known.id === params.usage_type_id);
  const [{ body: rows, pagination }, lines] = await Promise.all([
    get(`/usage-types/${params.usage_type_id}/factors`, { page: params.page, page_size: 25, sort: "-valid_from" }),
    upstreamLines(type, () => showFactors(view, params)),
  ]);
  replaceContent(view.querySelector(".factors"),
    h("div", { class: "title" }, h("h2", { tabindex: "-1" }, `Factors of ${type.name} (${type.unit})`),
      canManage() && button("Add a factor", () => addFactor(view, type, params), { class: "primary", "data-key": "add" })),
    table({ caption: `Factors of ${type.name}`, rows, empty: "No factors yet.", columns: [
      { title: `kg CO₂e per ${type.unit}`, isNumber: true, cell: factor => exact(factor.factor) },
      { title: "Valid", cell: factor => [validity(factor), factor.superseded_at && " ", factor.superseded_at && h("span", { class: "badge" }, "superseded")].filter(Boolean) },
      { title: "Region", cell: factor => factor.region ?? "any" },
      { title: "Method", cell: factor => factor.method },
      { title: "Owner", cell: factor => (factor.organization_id === null ? "shared" : "your organization") },
      { title: "Source", isLong: true, cell: factor => factor.source },
      { title: "Note", isLong: true, cell: factor => factor.note ?? "" },
    ] }),
    pager(pagination, page => changeParams({ page }), "Pages of factors"),
    lines);
}

function addType(view) {
  dialogs.open("Add a usage type", close => form({
    submit: "Add", cancel: close,
    send: async fields => {
      await post("/usage-types", { ...fields, ...(fields.scope && { scope: Number(fields.scope) }) });
      close();
      announce("Added.");
      await loadUsageTypes();
      await showTypes(view);
    },
  },
  field({ name: "name", label: "Name", autocomplete: "off" }),
  field({ name: "unit", label: "Unit", autocomplete: "off", hint: "For example kWh, l, m3, kg or km." }),
  field({ name: "scope", label: "Scope (GHG Protocol)", options: [BLANK, ...SCOPES] }),
  field({ name: "category", label: "Category", options: [BLANK, ...CATEGORIES], hint: "It must fit the scope." }),
  field({ name: "description", label: "Description", multiline: true, rows: 2 })));
}

function addFactor(view, type, params) {
  const midnight = date => instantOf(`${date}T00:00`, timezone());
  dialogs.open(`Add a factor for ${type.name}`, close => form({
    submit: "Add", cancel: close,
    send: async ({ valid_from: from, valid_until: until, ...fields }) => {
      await post(`/usage-types/${type.id}/factors`, { ...fields, ...(from && { valid_from: midnight(from) }), ...(until && { valid_until: midnight(until) }) });
      close();
      announce("Added.");
      await loadUsageTypes();
      await showTypes(view);
      await showFactors(view, params);
    },
  },
  h("p", {}, isAdmin() ? "All organizations will share it." : "Your organization will use it instead of shared factors. Recorded usages keep their factor until a restatement."),
  field({ name: "factor", label: `kg CO2e per ${type.unit}`, inputmode: "decimal", autocomplete: "off" }),
  field({ name: "valid_from", label: "Valid from", type: "date", value: `${today(timezone()).slice(0, 4)}-01-01` }),
  field({ name: "valid_until", label: "Valid until (exclusive)", type: "date", hint: "If blank, the factor has no end, and ends the previous one." }),
  field({ name: "region", label: "Region", autocomplete: "off", hint: "For example GB. If blank, it is valid for all regions." }),
  field({ name: "method", label: "Method", options: [["location", "Location-based"], ["market", "Market-based"]] }),
  field({ name: "source", label: "Source", autocomplete: "off" }),
  field({ name: "note", label: "Note", multiline: true, rows: 2 })));
}
