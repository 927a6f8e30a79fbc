// What can be used, and what one unit of it causes: usage types and their emission factors.

import { get, post } from "./api.js";
import { exact } from "./decimals.js";
import { directory, isAdmin, mayManage, readUsageTypes, timezone } from "./directory.js";
import * as dialogs from "./dialogs.js";
import { button, h, say } from "./dom.js";
import { validity } from "./explanation.js";
import { field, form } from "./forms.js";
import { change } from "./state.js";
import { pager, table } from "./table.js";
import { instantOf, today } from "./times.js";

const BLANK = ["", "none"];

export async function show(main, told, isSameView) {
  if (!isSameView || !main.querySelector(".types")) {
    main.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, "Usage types are everybody's. An organization's own factors go before the shared ones."),
        isAdmin() && button("Add a usage type", () => addType(main), { class: "primary" })),
      h("div", { class: "types card" }),
      h("section", { class: "factors card", "aria-live": "polite", hidden: true }));
  }
  showTypes(main);
  if (told.usage_type_id) await showFactors(main, told);
}

function showTypes(main) {
  main.querySelector(".types").replaceChildren(table({ caption: "Usage types", rows: directory.usageTypes, columns: [
    { title: "Usage type", of: type => type.name },
    { title: "Unit", of: type => type.unit },
    { title: "Scope", isNumber: true, of: type => type.scope ?? "" },
    { title: "Category", of: type => type.category ?? "" },
    { title: "kg CO₂e per unit, now", isNumber: true, of: type => (type.factor === null ? "" : exact(type.factor)) },
    { title: "Description", isLong: true, of: type => [type.archived && h("span", { class: "badge" }, "archived"), type.description].filter(Boolean) },
    { title: "Factors", of: type => button("Factors", () => change({ usage_type_id: type.id, page: "" }), { class: "quiet", "aria-label": `Factors of ${type.name} (${type.unit})` }) },
  ] }));
}

async function showFactors(main, told) {
  const type = directory.usageTypes.find(one => one.id === told.usage_type_id);
  const { body: rows, pagination } = await get(`/usage-types/${told.usage_type_id}/factors`, { page: told.page, page_size: 25, sort: "-valid_from" });
  const place = main.querySelector(".factors");
  place.hidden = false;
  place.replaceChildren(
    h("div", { class: "title" }, h("h2", {}, `Factors of ${type.name} (${type.unit})`),
      mayManage() && button("Add a factor", () => addFactor(main, type, told), { class: "primary" })),
    table({ caption: `Factors of ${type.name}`, rows, empty: "It has no factors yet.", columns: [
      { title: `kg CO₂e per ${type.unit}`, isNumber: true, of: one => exact(one.factor) },
      { title: "In force", of: validity },
      { title: "Region", of: one => one.region ?? "any" },
      { title: "Method", of: one => one.method },
      { title: "Whose", of: one => (one.organization_id === null ? "everybody's" : "your organization's") },
      { title: "Source", isLong: true, of: one => one.source },
      { title: "Note", isLong: true, of: one => one.note ?? "" },
    ] }),
    pager(pagination, page => change({ page })));
}

function addType(main) {
  dialogs.open("Add a usage type", close => form({
    submit: "Add", cancel: close,
    send: async told => {
      await post("/usage-types", { ...told, ...(told.scope && { scope: Number(told.scope) }) });
      close();
      say("Added.");
      await readUsageTypes();
      showTypes(main);
    },
  },
  field({ name: "name", label: "Name", autocomplete: "off" }),
  field({ name: "unit", label: "Unit", autocomplete: "off", hint: "Such as kWh, l, m3, kg, km." }),
  field({ name: "scope", label: "Scope (GHG Protocol)", options: [BLANK, ["1", "1: burnt here"], ["2", "2: bought energy"], ["3", "3: everything else"]] }),
  field({ name: "category", label: "Category", autocomplete: "off" }),
  field({ name: "description", label: "Description", multiline: true, rows: 2 })));
}

function addFactor(main, type, told) {
  const midnight = date => instantOf(`${date}T00:00`, timezone());
  dialogs.open(`Add a factor of ${type.name}`, close => form({
    submit: "Add", cancel: close,
    send: async ({ valid_from: from, valid_until: until, ...fields }) => {
      await post(`/usage-types/${type.id}/factors`, { ...fields, ...(from && { valid_from: midnight(from) }), ...(until && { valid_until: midnight(until) }) });
      close();
      say("Added.");
      await readUsageTypes();
      showTypes(main);
      await showFactors(main, told);
    },
  },
  h("p", {}, isAdmin() ? "It is everybody's." : "It is your organization's own, and goes before the shared ones. Numbers that are recorded already stay, until a restatement."),
  field({ name: "factor", label: `kg CO2e per ${type.unit}`, inputmode: "decimal", autocomplete: "off" }),
  field({ name: "valid_from", label: "In force from", type: "date", value: `${today(timezone()).slice(0, 4)}-01-01` }),
  field({ name: "valid_until", label: "Until, not included", type: "date", hint: "Without it the factor is open, and closes the open one before it." }),
  field({ name: "region", label: "Region", autocomplete: "off", hint: "Such as GB; without one it is for any." }),
  field({ name: "method", label: "Method", options: [["location", "Location-based"], ["market", "Market-based"]] }),
  field({ name: "source", label: "Source", autocomplete: "off" }),
  field({ name: "note", label: "Note", multiline: true, rows: 2 })));
}
