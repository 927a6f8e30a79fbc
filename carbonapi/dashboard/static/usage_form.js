// The form that adds or corrects a usage. A correction fails if another user has changed the usage in the meantime.

import { get, patch, post } from "./api.js";
import * as dialogs from "./dialogs.js";
import { announce } from "./dom.js";
import { field, form, option } from "./forms.js";
import { Problem } from "./http.js";
import { canManage, reference, timezone, typeOptions, userOptions } from "./reference_data.js";
import { meterOf, meterOptions, siteOptions } from "./sites.js";
import { instantOf, localTime, today } from "./times.js";

const NUMBERS = ["usage_type_id", "user_id"];
const PLACES = ["meter_id", "site_id"];
const INSTANTS = ["usage_at", "usage_until"];

// Open the form of a new usage, or of the one with this id. values: fields of a new usage. onSaved: called afterwards.
export async function openUsageForm({ id, values: given = {}, onSaved }) {
  const { body: usage, etag } = id ? await get(`/usages/${id}`) : { body: null, etag: null };
  const zone = timezone();
  const known = usage ?? given;
  const times = INSTANTS.filter(name => known[name]).map(name => [name, localTime(known[name], zone)]);
  const defaults = { user_id: reference.me.id, usage_at: `${today(zone)}T12:00`, quality: "measured", meter_id: null, site_id: null };
  const initial = { ...(usage ? {} : defaults), ...known, ...Object.fromEntries(times) };
  const before = usage && apiFields(initial);
  const save = async values => {
    const fields = apiFields(values);
    if (!usage) await post("/usages", withoutNulls(fields));
    else await patch(`/usages/${id}`, { ...changesOf(before, fields), ...(values.reason && { reason: values.reason }) }, etag).catch(explainConflict);
  };
  dialogs.open(usage ? "Correct a usage" : "Add a usage", close => {
    const element = form({ submit: usage ? "Save" : "Add", cancel: close, send: async values => { await save(values); close(); announce("Saved."); await onSaved(); } },
      ...placeFields(initial),
      field({ name: "usage_type_id", label: "Usage type", options: typeOptions({ archived: Boolean(usage) }), value: initial.usage_type_id }),
      field({ name: "usage_at", label: "Time, or start of the interval", type: "datetime-local", step: "1", value: initial.usage_at, hint: `Local time of ${zone}.` }),
      field({ name: "usage_until", label: "End of the interval, for example of a bill", type: "datetime-local", step: "1", value: initial.usage_until }),
      field({ name: "amount", label: "Amount", inputmode: "decimal", autocomplete: "off", value: initial.amount, hint: "With a decimal point, for example 12.5." }),
      field({ name: "unit", label: "Unit", options: initial.unit ? [[initial.unit, initial.unit]] : [] }),
      field({ name: "quality", label: "Quality", options: [["measured", "Measured"], ["estimated", "Estimated"]], value: initial.quality }),
      field({ name: "region", label: "Region", autocomplete: "off", value: initial.region, hint: "For example GB. Default: that of the site, or of the organization." }),
      canManage() && field({ name: "user_id", label: "User", options: userOptions(), value: initial.user_id }),
      field({ name: "external_id", label: "External ID", autocomplete: "off", value: initial.external_id }),
      field({ name: "note", label: "Note", multiline: true, rows: 2, value: initial.note }),
      usage && field({ name: "reason", label: "Reason for the correction", autocomplete: "off" }));
    const updateUnits = unit => showUnits(element.elements, unit);
    element.elements.usage_type_id.addEventListener("change", () => updateUnits());
    connectPlaces(element.elements);
    updateUnits(initial.unit);
    return element;
  }, { wide: true });
}

// Fields of the meter and the site, if there are any.
function placeFields({ meter_id: meter, site_id: site }) {
  const none = ["", "None"];
  const select = (name, label, options, value) => options.length > 0 && field({ name, label, options: [none, ...options], value: value ?? "" });
  return [
    select("meter_id", "Meter", meterOptions({ keep: meter }), meter),
    select("site_id", "Site", siteOptions({ keep: site }), site),
  ];
}

// A meter sets the usage type and the site. With another type or site, the usage has no meter.
function connectPlaces({ meter_id: select, site_id: site, usage_type_id: type }) {
  if (!select) return;
  select.addEventListener("change", () => {
    const meter = meterOf(select.value);
    if (!meter) return;
    site.value = meter.site_id;
    type.value = meter.usage_type_id;
    type.dispatchEvent(new Event("change"));
  });
  const clear = () => {
    const meter = meterOf(select.value);
    if (meter && (site.value !== meter.site_id || type.value !== meter.usage_type_id)) select.value = "";
  };
  for (const other of [site, type]) other.addEventListener("change", clear);
}

async function showUnits({ unit: select, usage_type_id: type }, unit) {
  const requested = type.value;
  if (!requested) return;
  const { body: units } = await get(`/usage-types/${requested}/units`);
  if (type.value !== requested) return; // The user has selected another type in the meantime.
  const names = units.map(known => known.unit);
  if (unit && !names.includes(unit)) names.push(unit);
  select.replaceChildren(...names.map(name => option([name, name])));
  if (unit) select.value = unit;
}

// The values as fields of the API. Amounts stay strings, to keep their digits; blank values are null.
function apiFields(values) {
  const fields = Object.fromEntries(
    ["amount", "unit", "quality", "region", "external_id", "note"].map(name => [name, values[name] ?? null]));
  for (const name of NUMBERS) if (values[name]) fields[name] = Number(values[name]);
  for (const name of PLACES) fields[name] = values[name] ? Number(values[name]) : null;
  for (const name of INSTANTS) fields[name] = values[name] ? instantOf(values[name], timezone()) : null;
  return fields;
}

function withoutNulls(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function changesOf(before, after) {
  return Object.fromEntries(Object.entries(after).filter(([name, value]) => name in before && value !== before[name]));
}

function explainConflict(problem) {
  if (problem.status !== 412) throw problem;
  throw new Problem(412, { detail: "Another user has changed this usage. Close this dialog and open it again to see the current version." });
}
