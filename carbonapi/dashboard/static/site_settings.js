// The sites and meters of the organization, which managers add.

import { post } from "./api.js";
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
    ] }));
}

function title(text, action) {
  return h("div", { class: "title" }, h("h2", {}, text), action);
}

function archivedBadge({ archived }) {
  return archived ? [" ", h("span", { class: "badge" }, "archived")] : "";
}

function addSite(show) {
  openForm("Add a site", "/sites", ["parent_id"], show,
    field({ name: "name", label: "Name", autocomplete: "off" }),
    field({ name: "parent_id", label: "Part of", options: [["", "None"], ...siteOptions()] }),
    field({ name: "region", label: "Region", autocomplete: "off", hint: "For example GB or US-CA. Default: that of the site above it, or of the organization." }),
    field({ name: "external_id", label: "External ID", autocomplete: "off" }));
}

function addMeter(show) {
  openForm("Add a meter", "/meters", ["site_id", "usage_type_id"], show,
    field({ name: "name", label: "Name", autocomplete: "off" }),
    field({ name: "site_id", label: "Site", options: siteOptions() }),
    field({ name: "usage_type_id", label: "Usage type", options: typeOptions() }),
    field({ name: "external_id", label: "External ID", autocomplete: "off", hint: "The number that your supplier uses, such as an MPAN." }));
}

// ids: the names of the fields that are ids.
function openForm(text, path, ids, show, ...fields) {
  dialogs.open(text, close => form({
    submit: "Add", cancel: close,
    send: async values => {
      const numbers = ids.filter(name => values[name]).map(name => [name, Number(values[name])]);
      await post(path, { ...values, ...Object.fromEntries(numbers) });
      close();
      await loadSites();
      show();
      announce("Added.");
    },
  }, ...fields));
}
