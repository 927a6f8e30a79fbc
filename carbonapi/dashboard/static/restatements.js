// Booking usages anew with the factors there are now: what would change, by month, and then for a reason.

import { get, post } from "./api.js";
import { count, counted, exact } from "./decimals.js";
import { timezone, typeChoices, typeName, userName } from "./directory.js";
import { button, h, say } from "./dom.js";
import { attempt, field, form } from "./forms.js";
import { addressOf, change, follow } from "./state.js";
import { pager, table } from "./table.js";
import { instant, instantOf, later } from "./times.js";

export async function show(main, told, isSameView) {
  if (!isSameView || !main.querySelector(".results")) {
    main.append(asking(main), h("section", { class: "card", "aria-labelledby": "restated" },
      h("h2", { id: "restated" }, "Restatements"),
      h("div", { class: "results", "aria-busy": "true" })));
  }
  await showPage(main, told);
}

function asking(main) {
  const outcome = h("div", { class: "outcome", "aria-live": "polite" });
  const restate = async (told, mode) => (await post("/restatements", { ...fieldsOf(told), mode })).body;
  const element = form({
    submit: "Preview",
    send: async told => {
      const preview = await restate(told, "preview");
      const apply = () => attempt(element, async () => {
        const { id } = await restate(told, "apply");
        outcome.replaceChildren(h("p", { class: "note" }, id === null ? "Nothing was to be changed." : `Restatement ${id} has been booked.`));
        say("The restatement has been booked.");
        await showPage(main, {});
      });
      showPreview(outcome, preview, apply);
    },
  }, h("div", { class: "grid" },
    field({ name: "usage_type_id", label: "Usage type", options: typeChoices({ archived: true }) }),
    field({ name: "start", label: "From", type: "date" }),
    field({ name: "end", label: "To, included", type: "date" }),
    field({ name: "region", label: "Region", autocomplete: "off", hint: "Such as GB; without one, all." })),
  field({ name: "reason", label: "Reason", autocomplete: "off", hint: "It is kept with every version that is booked." }));
  element.addEventListener("change", () => outcome.replaceChildren());
  return h("section", { class: "card", "aria-labelledby": "restate" },
    h("h2", { id: "restate" }, "Restate usages"),
    h("p", { class: "lead" }, "Recorded numbers keep their factor. When the catalogue has better ones, a restatement books the usages anew, in the open."),
    element, outcome);
}

function fieldsOf({ usage_type_id: type, start, end, ...others }) {
  const midnight = date => instantOf(`${date}T00:00`, timezone());
  return { ...others, usage_type_id: Number(type), ...(start && { start: midnight(start) }), ...(end && { end: midnight(later(end, { days: 1 })) }) };
}

function showPreview(place, told, apply) {
  const months = [...told.months, { month: "In all", ...told }];
  const isNothing = Number(told.usage_count) === 0;
  place.replaceChildren(
    h("h3", {}, isNothing ? "Nothing would change" : `${counted(told.usage_count, "usage")} would change`),
    isNothing ? "" : h("p", {}, `${signed(told.difference_kg)} kg CO2e${told.difference_percent === null ? "" : `, ${signed(told.difference_percent)} %`}: ${told.significant ? "significant" : "not significant"}, by your threshold of ${exact(told.significance_threshold)} %.`),
    isNothing ? "" : table({ caption: "What would change, by month", rows: months, columns: [
      { title: "Month", of: one => one.month },
      { title: "Usages", isNumber: true, of: one => count(Number(one.usage_count)) },
      { title: "Before, kg", isNumber: true, of: one => exact(one.before_kg) },
      { title: "After, kg", isNumber: true, of: one => exact(one.after_kg) },
      { title: "Difference, kg", isNumber: true, of: one => signed(one.difference_kg) },
    ] }),
    isNothing ? "" : h("div", { class: "actions" }, button("Apply", apply, { class: "primary" })));
  say(isNothing ? "Nothing would change." : `${counted(told.usage_count, "usage")} would change.`);
}

function signed(digits) {
  return digits.startsWith("-") || digits === "0" ? exact(digits) : `+${exact(digits)}`;
}

async function showPage(main, told) {
  const { body: rows, pagination } = await get("/restatements", { page: told.page, page_size: 20 });
  const results = main.querySelector(".results");
  results.replaceChildren(
    table({ caption: "Restatements", rows, empty: "Nothing has been restated yet.", columns: [
      { title: "No.", isNumber: true, of: one => one.id },
      { title: "Booked", of: one => instant(one.recorded_at, timezone()) },
      { title: "By", of: one => userName(one.recorded_by) },
      { title: "Usage type", of: one => typeName(one.usage_type_id) },
      { title: "Usages", isNumber: true, of: one => h("a", { href: addressOf("usages", { restatement_id: one.id }), onclick: follow }, count(Number(one.usage_count))) },
      { title: "Difference, kg", isNumber: true, of: one => signed(one.difference_kg) },
      { title: "Reason", isLong: true, of: one => one.reason },
    ] }),
    pager(pagination, page => change({ page })));
  results.removeAttribute("aria-busy");
}
