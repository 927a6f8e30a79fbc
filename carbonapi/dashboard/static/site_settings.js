// The sites and meters of the organization, which managers add and edit.

import { get, patch, post } from "./api.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { field, form } from "./forms.js";
import { loadSites, reference, typeName, typeOptions } from "./reference_data.js";
import { indented, siteName, siteOptions, siteTree } from "./sites.js";
import { table } from "./table.js";

// The cards of the sites and the meters.
export function siteCards() {
  const sites = h("section", { class: "card", "aria-label": "Sites" });
  const meters = h("section", { class: "card", "aria-label": "Meters" });
  const show = () => {
    showSites(sites, show);
    showMeters(meters, show);
  };
  show();
  return [sites, meters];
}

function showSites(card, show) {
  replaceContent(card,
    title("Sites", button("Add a site", () => addSite(show), { "data-key": "add" })),
    table({ caption: "Sites", rows: siteTree(), empty: "No sites yet.", columns: [
      { title: "Name", cell: site => [indented(site), archivedBadge(site)] },
      { title: "Region", cell: site => site.region ?? "" },
      { title: "External ID", cell: site => site.external_id ?? "" },
      { title: "Actions", cell: site => editButton(site, () => editSite(site, show)) },
    ] }));
}

function showMeters(card, show) {
  replaceContent(card,
    title("Meters", reference.sites.length > 0 && button("Add a meter", () => addMeter(show), { "data-key": "add" })),
    table({ caption: "Meters", rows: reference.meters, empty: reference.sites.length ? "No meters yet." : "No meters yet. Add a site first.", columns: [
      { title: "Name", cell: meter => [meter.name, archivedBadge(meter)] },
      { title: "Site", cell: meter => siteName(meter.site_id) },
      { title: "Usage type", cell: meter => typeName(meter.usage_type_id) },
      { title: "External ID", cell: meter => meter.external_id ?? "" },
      { title: "Actions", cell: meter => editButton(meter, () => editMeter(meter, show)) },
    ] }));
}

function title(text, action) {
  return h("div", { class: "title" }, h("h2", {}, text), action);
}

function archivedBadge({ archived }) {
  return archived ? [" ", h("span", { class: "badge" }, "archived")] : "";
}

function editButton({ id, name }, edit) {
  return button("Edit", edit, { class: "quiet", "aria-label": `Edit ${name}`, "data-key": `edit-${id}` });
}

function addSite(show) {
  openForm("Add a site", "Add", ["parent_id"], values => post("/sites", values), show, siteFields({}, siteOptions()));
}

async function editSite({ id, name }, show) {
  const { body, etag } = await get(`/sites/${id}`);
  const parents = siteOptions({ keep: body.parent_id }).filter(([option]) => option !== id);
  // A cleared field is none. The name must have a value, so a blank one is an error.
  const none = { name: "", parent_id: null, region: null, external_id: null };
  openForm(`Edit ${name}`, "Save", ["parent_id"], values => patch(`/sites/${id}`, { ...none, ...values }, etag), show,
    [...siteFields(body, parents), archivedField(body)]);
}

function addMeter(show) {
  openForm("Add a meter", "Add", ["site_id", "usage_type_id"], values => post("/meters", values), show, meterFields({}));
}

async function editMeter({ id, name }, show) {
  const { body, etag } = await get(`/meters/${id}`);
  const none = { name: "", external_id: null };
  openForm(`Edit ${name}`, "Save", ["site_id", "usage_type_id"], values => patch(`/meters/${id}`, { ...none, ...values }, etag), show,
    [h("p", {}, "Recorded usages stay at their site."), ...meterFields(body), archivedField(body)]);
}

function siteFields({ name, parent_id: parent, region, external_id: external }, parents) {
  return [
    field({ name: "name", label: "Name", autocomplete: "off", value: name }),
    field({ name: "parent_id", label: "Part of", options: [["", "None"], ...parents], value: parent }),
    field({ name: "region", label: "Region", autocomplete: "off", value: region, hint: "For example GB or US-CA. Default: that of the site above it, or of the organization." }),
    field({ name: "external_id", label: "External ID", autocomplete: "off", value: external }),
  ];
}

function meterFields({ name, site_id: site = null, usage_type_id: type, external_id: external }) {
  return [
    field({ name: "name", label: "Name", autocomplete: "off", value: name }),
    field({ name: "site_id", label: "Site", options: siteOptions({ keep: site }), value: site }),
    field({ name: "usage_type_id", label: "Usage type", options: typeOptions({ archived: type !== undefined }), value: type }),
    field({ name: "external_id", label: "External ID", autocomplete: "off", value: external, hint: "The number that your supplier uses, such as an MPAN." }),
  ];
}

function archivedField({ archived }) {
  return field({ name: "archived", label: "New usages", options: [["false", "Accepted"], ["true", "Not accepted: archived"]], value: String(archived) });
}

// ids: the names of the fields that are ids. send: called with the values by name, without blank ones.
function openForm(text, submit, ids, send, show, fields) {
  dialogs.open(text, close => form({
    submit, cancel: close,
    send: async ({ archived, ...values }) => {
      const numbers = ids.filter(name => values[name]).map(name => [name, Number(values[name])]);
      await send({ ...values, ...Object.fromEntries(numbers), ...(archived && { archived: archived === "true" }) });
      close();
      await loadSites();
      show();
      announce(submit === "Add" ? "Added." : "Saved.");
    },
  }, ...fields));
}
