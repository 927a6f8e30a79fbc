// Booking a file: choose it, say which of its columns is what, let the API look at it, then book it.

import { upload } from "./api.js";
import { count, counted, exact } from "./decimals.js";
import { timezone, typeChoices } from "./directory.js";
import { button, h, say } from "./dom.js";
import { guess, readHeader } from "./file_header.js";
import { attempt, field, form } from "./forms.js";
import { table } from "./table.js";
import { timezones } from "./times.js";

const COLUMNS = [
  ["usage_at", "Time"], ["amount", "Amount"], ["usage_until", "End of the period"], ["unit", "Unit"],
  ["usage_type", "Usage type, by name"], ["usage_type_id", "Usage type, by id"], ["user_email", "User, by e-mail"],
  ["user_id", "User, by id"], ["region", "Region"], ["method", "Method"], ["quality", "Quality"], ["note", "Note"],
  ["external_id", "Your own id"], ["adjusts_closed_period_id", "Adjusted period"],
];
// What an export has beside: the API passes over these by itself.
const DERIVED = new Set([
  "id", "organization_id", "amount_in_type_unit", "factor", "emission_factor_id", "co2e_kg", "import_id", "restatement_id",
  "version", "recorded_at", "recorded_by", "reason",
]);
const DELIMITERS = { ",": ",", ";": ";", "\t": "tab", "|": "pipe" };

export function importForm({ done }) {
  const place = h("section", { class: "card", "aria-labelledby": "import-title" }, h("h2", { id: "import-title" }, "Book a file"), chooser());

  function chooser() {
    const input = h("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv", id: "import-file", onchange: () => input.files[0] && choose(input.files[0]) });
    const drop = h("div", { class: "drop",
      ondragover: event => { event.preventDefault(); drop.classList.add("over"); },
      ondragleave: () => drop.classList.remove("over"),
      ondrop: event => { event.preventDefault(); drop.classList.remove("over"); const [file] = event.dataTransfer.files; if (file) choose(file); },
    }, h("label", { for: "import-file" }, "Drop a CSV file here, or choose one"), input);
    return drop;
  }

  function startOver() {
    place.replaceChildren(place.firstElementChild, chooser());
    place.querySelector("input").focus();
  }

  async function choose(file) {
    const header = await readHeader(file);
    const outcome = h("div", { class: "outcome", "aria-live": "polite" });
    const options = (mode, told) => ({ mode, ...queryOf(told, header) });
    const element = form({
      submit: "Look at it (dry run)", cancel: startOver,
      send: async told => showOutcome(outcome, (await upload("/imports", options("dry-run", told), file)).body, told.mode === "atomic", () => book(told)),
    }, ...fieldsOf(header));
    // What was looked at is no longer what would be booked.
    element.addEventListener("change", () => outcome.replaceChildren());
    const book = told => attempt(element, async () => {
      const { body } = await upload("/imports", options(told.mode, told), file);
      say(`${counted(body.usage_count, "usage")} booked.`);
      place.replaceChildren(place.firstElementChild, h("p", { class: "note", role: "status" }, `${file.name}: ${counted(body.usage_count, "usage")} booked, ${exact(body.co2e_kg ?? "0")} kg CO2e.`), chooser());
      await done();
    });
    place.replaceChildren(place.firstElementChild,
      h("p", { class: "lead" }, h("strong", {}, file.name), ` has ${counted(header.names.length, "column")}: ${header.names.join(", ")}.`),
      preview(header), element, outcome);
    element.querySelector("select").focus();
  }

  return place;
}

function preview({ names, sample }) {
  return table({ caption: "The first lines of the file", rows: sample, columns: names.map((title, place) => ({ title, of: cells => cells[place] ?? "" })) });
}

function fieldsOf({ names }) {
  const column = ([name, label]) => field({ name: `column-${name}`, label, options: [["", "not in the file"], ...names.map(one => [one, one])], value: guess(name, names) });
  return [
    h("fieldset", {}, h("legend", {}, "Which column is what"), h("div", { class: "grid" }, COLUMNS.slice(0, 4).map(column)),
      h("details", {}, h("summary", {}, "Further columns"), h("div", { class: "grid" }, COLUMNS.slice(4).map(column)))),
    h("fieldset", {}, h("legend", {}, "How it is written"), h("div", { class: "grid" },
      field({ name: "usage_type_id", label: "Usage type, where no column tells", options: [["", "as the file tells"], ...typeChoices()] }),
      field({ name: "timezone", label: "Time zone of times without an offset", options: [["", "times have offsets"], ...timezones(timezone()).map(zone => [zone, zone])] }),
      field({ name: "fold", label: "A local time that comes twice", options: [["", "is a fault"], ["first", "is the first"], ["second", "is the second"]] }),
      field({ name: "date_order", label: "Dates", options: [["", "2026-01-31"], ["ymd", "year, month, day"], ["dmy", "day, month, year"], ["mdy", "month, day, year"]] }),
      field({ name: "decimal", label: "Decimal sign", options: [[".", "point"], [",", "comma"]] }),
      field({ name: "round", label: "Round amounts", options: [["", "no"], ...["0", "1", "2", "3", "4", "5", "6"].map(digits => [digits, `to ${digits} digits`])] }),
      field({ name: "blank", label: "Lines without an amount", options: [["", "are errors"], ["skip", "are passed over"]] }),
      field({ name: "on_conflict", label: "What the ledger has already", options: [["reject", "is a fault"], ["skip", "stays as it is"], ["replace", "is corrected"]] }),
      field({ name: "mode", label: "Lines with errors", options: [["atomic", "nothing is booked"], ["partial", "the others are booked"]] }))),
  ];
}

// The API's own arguments for what was chosen. A column that nothing was chosen for is given a name that is not needed,
// and ignored by that name.
function queryOf(told, { names, delimiter }) {
  const query = { delimiter: DELIMITERS[delimiter], ignore: [] };
  for (const name of ["usage_type_id", "timezone", "fold", "date_order", "decimal", "round", "blank", "on_conflict"]) query[name] = told[name];
  const chosen = new Map(COLUMNS.map(([ours]) => [told[`column-${ours}`], ours]).filter(([theirs]) => theirs));
  const spare = COLUMNS.map(([ours]) => ours).filter(ours => !told[`column-${ours}`]).reverse();
  const pairs = [];
  for (const theirs of names) {
    if (!chosen.has(theirs) && DERIVED.has(theirs)) continue;
    const ours = chosen.get(theirs) ?? (spare.includes(theirs) ? spare.splice(spare.indexOf(theirs), 1)[0] : spare.shift());
    if (ours === undefined) continue; // There are more than can be ignored: the API tells which it does not know.
    if (!chosen.has(theirs)) query.ignore.push(ours);
    if (ours !== theirs) pairs.push(`${ours}:${theirs}`);
  }
  return { ...query, columns: pairs.join(",") };
}

function showOutcome(place, told, isAtomic, book) {
  const { errors, warnings } = told;
  const rejected = Number(told.rejected_count);
  place.replaceChildren(
    h("h3", {}, rejected ? `${counted(rejected, "line")} with errors` : "No errors"),
    h("p", {}, `${counted(told.new_count, "new usage")}, ${exact(told.co2e_kg ?? "0")} kg CO2e; ${count(Number(told.changed_count))} corrected, ${count(Number(told.unchanged_count) + Number(told.skipped_count))} left as they are, ${count(Number(told.blank_count))} without an amount. Nothing has been booked yet.`),
    errors.length ? table({ caption: "Faults by line", rows: errors, columns: [
      { title: "Line", isNumber: true, of: one => one.line },
      { title: "Column", of: one => one.column ?? "" },
      { title: "Found", isLong: true, of: one => one.found ?? "" },
      { title: "What is wrong", isLong: true, of: one => one.message },
    ] }) : "",
    warnings.length ? table({ caption: "Warnings by line", rows: warnings, columns: [
      { title: "Line", isNumber: true, of: one => one.line },
      { title: "Worth a look", isLong: true, of: one => one.message },
    ] }) : "",
    rejected && isAtomic
      ? h("p", { class: "note" }, "With a fault in any line, nothing is booked: mend the file, or choose that the others are booked.")
      : h("div", { class: "actions" }, button("Book it", book, { class: "primary" })));
  say(rejected ? `${counted(rejected, "line")} with errors.` : "No errors.");
}
