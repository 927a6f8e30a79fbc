// The settings of the organization, its sites and meters, for managers, and the user's own password.

import { get, patch, post } from "./api.js";
import { announce, h } from "./dom.js";
import { field, form } from "./forms.js";
import { NEW_PASSWORD_HINT } from "./login.js";
import { canManage, reference, useOrganization } from "./reference_data.js";
import { siteCards } from "./site_settings.js";
import { timezones } from "./times.js";

export async function show(view, params, isSameView) {
  if (isSameView) return;
  const organization = canManage() ? await get(`/organizations/${reference.organization.id}`) : null;
  view.append(...(organization ? [organizationForm(view, organization), ...siteCards()] : []), passwordForm());
}

function organizationForm(view, { body: { id, name, timezone, region, significance_threshold: threshold, factor_split: split, missing_factor: missing }, etag: firstEtag }) {
  let etag = firstEtag;
  return settingsCard("Organization", {
    send: async fields => {
      // A cleared region is none. Other fields must have a value, so a blank one is an error.
      const changes = { name: "", significance_threshold: "", region: null, ...fields };
      const { body, etag: next } = await patch(`/organizations/${id}`, changes, etag);
      etag = next;
      useOrganization(body);
      // The header shows the name.
      view.dispatchEvent(new Event("organizationchange", { bubbles: true }));
    },
  },
  field({ name: "name", label: "Name", autocomplete: "organization", value: name }),
  field({ name: "timezone", label: "Time zone", options: timezones(timezone).map(zone => [zone, zone]), value: timezone, hint: "Days and months of reports begin at midnight in this time zone." }),
  field({ name: "region", label: "Region", autocomplete: "off", value: region, hint: "For example GB or US-CA. Its emission factors apply to usages without a region." }),
  field({ name: "significance_threshold", label: "Significance threshold in percent", inputmode: "decimal", autocomplete: "off", value: threshold, hint: "A restatement is significant from this change of the total." }),
  field({ name: "factor_split", label: "Bills over a change of factor", options: [["days", "Split by days"], ["start", "Factor of the start"]], value: split }),
  field({ name: "missing_factor", label: "Usages after the last factor", options: [["refuse", "Reject"], ["latest", "Use the latest factor, provisionally"]], value: missing, hint: "Provisional numbers are marked. A restatement replaces them when the factor is there." }));
}

function passwordForm() {
  const card = settingsCard("Your password", {
    send: async fields => {
      await post("/auth/password", { current_password: "", new_password: "", ...fields });
      card.querySelector("form").reset();
    },
  },
  field({ name: "current_password", label: "Current password", type: "password", autocomplete: "current-password" }),
  field({ name: "new_password", label: "New password", type: "password", autocomplete: "new-password", hint: `${NEW_PASSWORD_HINT} Your other sessions end.` }));
  return card;
}

function settingsCard(title, { send }, ...fields) {
  const saved = h("p", { class: "note", role: "status", hidden: true }, "Saved.");
  const save = async values => {
    saved.hidden = true;
    await send(values);
    saved.hidden = false;
    announce("Saved.");
  };
  const element = form({ submit: "Save", send: save, attributes: { class: "settings" } }, ...fields);
  element.addEventListener("input", () => { saved.hidden = true; });
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), element, saved);
}
