// Recording a usage, and correcting one: only over the version that was read.

import { get, patch, post } from "./api.js";
import { mayManage, timezone, typeChoices, userChoices, directory } from "./directory.js";
import * as dialogs from "./dialogs.js";
import { say } from "./dom.js";
import { choice, field, form } from "./forms.js";
import { instantOf, localTime, today } from "./times.js";
import { Problem } from "./wire.js";

const NUMBERS = ["usage_type_id", "user_id"];
const INSTANTS = ["usage_at", "usage_until"];

// Open the form of a new usage, or of the one of this id. done: what to do when it is written.
export async function openUsage({ id, done }) {
  const { body: usage, etag } = id ? await get(`/usages/${id}`) : { body: null, etag: null };
  const zone = timezone();
  const shown = usage
    ? { ...usage, ...Object.fromEntries(INSTANTS.map(name => [name, usage[name] && localTime(usage[name], zone)])) }
    : { user_id: directory.me.id, usage_at: `${today(zone)}T12:00`, quality: "measured", method: "location" };
  const before = usage && writtenOf(shown);
  const write = async told => {
    const fields = writtenOf(told);
    if (!usage) await post("/usages", onlyGiven(fields));
    else await patch(`/usages/${id}`, { ...changesOf(before, fields), ...(told.reason && { reason: told.reason }) }, etag).catch(explainStale);
  };
  dialogs.open(usage ? "Correct a usage" : "Add a usage", close => {
    const element = form({ submit: usage ? "Save" : "Add", cancel: close, send: async told => { await write(told); close(); say("Saved."); await done(); } },
      field({ name: "usage_type_id", label: "Usage type", options: typeChoices({ archived: Boolean(usage) }), value: shown.usage_type_id }),
      field({ name: "usage_at", label: "Time, or the begin of a period", type: "datetime-local", step: "1", value: shown.usage_at, hint: `Local time of ${zone}.` }),
      field({ name: "usage_until", label: "End of the period (of a bill)", type: "datetime-local", step: "1", value: shown.usage_until }),
      field({ name: "amount", label: "Amount", inputmode: "decimal", autocomplete: "off", value: shown.amount, hint: "With a decimal point: 12.5." }),
      field({ name: "unit", label: "Unit", options: shown.unit ? [[shown.unit, shown.unit]] : [] }),
      field({ name: "quality", label: "Quality", options: [["measured", "Measured"], ["estimated", "Estimated"]], value: shown.quality }),
      field({ name: "method", label: "Method", options: [["location", "Location-based"], ["market", "Market-based"]], value: shown.method }),
      field({ name: "region", label: "Region", autocomplete: "off", value: shown.region, hint: "Such as GB; without one it is the organization's." }),
      mayManage() && field({ name: "user_id", label: "Whose usage it is", options: userChoices(), value: shown.user_id }),
      field({ name: "external_id", label: "Your own id of it", autocomplete: "off", value: shown.external_id }),
      field({ name: "note", label: "Note", multiline: true, rows: 2, value: shown.note }),
      usage && field({ name: "reason", label: "Why it is corrected", autocomplete: "off" }));
    const showUnits = unit => fillUnits(element.elements, unit);
    element.elements.usage_type_id.addEventListener("change", () => showUnits());
    showUnits(shown.unit);
    return element;
  }, { wide: true });
}

async function fillUnits({ unit: select, usage_type_id: type }, unit) {
  const asked = type.value;
  if (!asked) return;
  const { body: units } = await get(`/usage-types/${asked}/units`);
  if (type.value !== asked) return; // Another has been chosen meanwhile.
  const names = units.map(one => one.unit);
  if (unit && !names.includes(unit)) names.push(unit);
  select.replaceChildren(...names.map(name => choice([name, name])));
  if (unit) select.value = unit;
}

// The fields as the API takes them. The digits of an amount stay text; what is blank is null.
function writtenOf(told) {
  const fields = Object.fromEntries(
    ["amount", "unit", "quality", "method", "region", "external_id", "note"].map(name => [name, told[name] ?? null]));
  for (const name of NUMBERS) if (told[name]) fields[name] = Number(told[name]);
  for (const name of INSTANTS) fields[name] = told[name] ? instantOf(told[name], timezone()) : null;
  return fields;
}

function onlyGiven(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function changesOf(before, after) {
  return Object.fromEntries(Object.entries(after).filter(([name, value]) => name in before && value !== before[name]));
}

function explainStale(problem) {
  if (problem.status !== 412) throw problem;
  throw new Problem(412, { detail: "Somebody has changed this usage meanwhile. Close this, and open it again to see what it is now." });
}
