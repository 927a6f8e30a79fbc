// Usage types and their emission factors.

import { get, post } from "./api.js";
import { exact } from "./decimals.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h } from "./dom.js";
import { validity } from "./explanation.js";
import { field, form } from "./forms.js";
import { canManage, isAdmin, loadUsageTypes, reference, timezone } from "./reference_data.js";
import { changeParams } from "./router.js";
import { pager, table } from "./table.js";
import { instantOf, today } from "./times.js";

const BLANK = ["", "None"];

export async function show(main, params, isSameView) {
  if (!isSameView || !main.querySelector(".types")) {
    main.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, "All organizations share the usage types. Your organization's own factors take precedence over shared ones."),
        isAdmin() && button("Add a usage type", () => addType(main), { class: "primary" })),
      h("div", { class: "types card" }),
      h("section", { class: "factors card", "aria-live": "polite", hidden: true }));
  }
  showTypes(main);
  if (params.usage_type_id) await showFactors(main, params);
}

function showTypes(main) {
  main.querySelector(".types").replaceChildren(table({ caption: "Usage types", rows: reference.usageTypes, columns: [
    { title: "Usage type", cell: type => type.name },
    { title: "Unit", cell: type => type.unit },
    { title: "Scope", isNumber: true, cell: type => type.scope ?? "" },
    { title: "Category", cell: type => type.category ?? "" },
    { title: "Current kg CO₂e per unit", isNumber: true, cell: type => (type.factor === null ? "" : exact(type.factor)) },
    { title: "Description", isLong: true, cell: type => [type.archived && h("span", { class: "badge" }, "archived"), type.description].filter(Boolean) },
    { title: "Actions", cell: type => button("Factors", () => changeParams({ usage_type_id: type.id, page: "" }), { class: "quiet", "aria-label": `Factors of ${type.name} (${type.unit})` }) },
  ] }));
}

async function showFactors(main, params) {
  const type = reference.usageTypes.find(known => known.id === params.usage_type_id);
  const { body: rows, pagination } = await get(`/usage-types/${params.usage_type_id}/factors`, { page: params.page, page_size: 25, sort: "-valid_from" });
  const section = main.querySelector(".factors");
  section.hidden = false;
  section.replaceChildren(
    h("div", { class: "title" }, h("h2", {}, `Factors of ${type.name} (${type.unit})`),
      canManage() && button("Add a factor", () => addFactor(main, type, params), { class: "primary" })),
    table({ caption: `Factors of ${type.name}`, rows, empty: "No factors yet.", columns: [
      { title: `kg CO₂e per ${type.unit}`, isNumber: true, cell: factor => exact(factor.factor) },
      { title: "Valid", cell: validity },
      { title: "Region", cell: factor => factor.region ?? "any" },
      { title: "Method", cell: factor => factor.method },
      { title: "Owner", cell: factor => (factor.organization_id === null ? "shared" : "your organization") },
      { title: "Source", isLong: true, cell: factor => factor.source },
      { title: "Note", isLong: true, cell: factor => factor.note ?? "" },
    ] }),
    pager(pagination, page => changeParams({ page })));
}

function addType(main) {
  dialogs.open("Add a usage type", close => form({
    submit: "Add", cancel: close,
    send: async fields => {
      await post("/usage-types", { ...fields, ...(fields.scope && { scope: Number(fields.scope) }) });
      close();
      announce("Added.");
      await loadUsageTypes();
      showTypes(main);
    },
  },
  field({ name: "name", label: "Name", autocomplete: "off" }),
  field({ name: "unit", label: "Unit", autocomplete: "off", hint: "For example kWh, l, m3, kg or km." }),
  field({ name: "scope", label: "Scope (GHG Protocol)", options: [BLANK, ["1", "1: direct emissions"], ["2", "2: purchased energy"], ["3", "3: other indirect emissions"]] }),
  field({ name: "category", label: "Category", autocomplete: "off" }),
  field({ name: "description", label: "Description", multiline: true, rows: 2 })));
}

function addFactor(main, type, params) {
  const midnight = date => instantOf(`${date}T00:00`, timezone());
  dialogs.open(`Add a factor for ${type.name}`, close => form({
    submit: "Add", cancel: close,
    send: async ({ valid_from: from, valid_until: until, ...fields }) => {
      await post(`/usage-types/${type.id}/factors`, { ...fields, ...(from && { valid_from: midnight(from) }), ...(until && { valid_until: midnight(until) }) });
      close();
      announce("Added.");
      await loadUsageTypes();
      showTypes(main);
      await showFactors(main, params);
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
