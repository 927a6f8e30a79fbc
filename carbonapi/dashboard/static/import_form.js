// The import of a file: choose it, map its columns, preview the result, and import it.

import { newKey, upload } from "./api.js";
import { count, counted, exact } from "./decimals.js";
import { announce, button, h } from "./dom.js";
import { guess, readHeader } from "./file_header.js";
import { field, form, submitForm } from "./forms.js";
import { reference, timezone, typeOptions } from "./reference_data.js";
import { table } from "./table.js";
import { timezones } from "./times.js";

const COLUMNS = [
  ["usage_at", "Time"], ["amount", "Amount"], ["usage_until", "End of the interval"], ["unit", "Unit"],
  ["usage_type", "Usage type, by name"], ["usage_type_id", "Usage type, by ID"], ["user_email", "User, by e-mail"],
  ["user_id", "User, by ID"], ["region", "Region"], ["quality", "Quality"], ["note", "Note"],
  ["external_id", "External ID"], ["adjusts_closed_period_id", "Adjusted closed period"],
];
// Further columns of an export, which the API ignores.
const DERIVED = new Set([
  "id", "organization_id", "amount_in_type_unit", "factor", "market_factor", "emission_factor_id", "valuation_id", "co2e_kg",
  "market_co2e_kg", "split_co2e_kg", "split_market_co2e_kg", "provisional", "import_id", "restatement_id", "version", "recorded_at", "recorded_by", "reason",
]);
// To ignore such a column could import an amount twice, so the API gets it and says what to do.
const REJECTED = new Set(["method"]);
const DELIMITERS = { ",": ",", ";": ";", "\t": "tab", "|": "pipe" };

export function importForm({ onImported }) {
  const section = h("section", { class: "card", "aria-labelledby": "import-title" }, h("h2", { id: "import-title" }, "Import a file"), fileChooser());

  function fileChooser() {
    const input = h("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv", id: "import-file", onchange: () => input.files[0] && choose(input.files[0]) });
    const drop = h("div", { class: "drop",
      ondragover: event => { event.preventDefault(); drop.classList.add("over"); },
      ondragleave: () => drop.classList.remove("over"),
      ondrop: event => { event.preventDefault(); drop.classList.remove("over"); const [file] = event.dataTransfer.files; if (file) choose(file); },
    }, h("label", { for: "import-file" }, "Drop a CSV file here, or choose one"), input);
    return drop;
  }

  function startOver() {
    section.replaceChildren(section.firstElementChild, fileChooser());
    section.querySelector("input").focus();
  }

  async function choose(file) {
    const header = await readHeader(file);
    const outcome = h("div", { class: "outcome", "aria-live": "polite" });
    const options = (mode, values) => ({ mode, ...queryOf(values, header) });
    const element = form({
      submit: "Preview", cancel: startOver,
      send: async values => {
        outcome.replaceChildren();
        const { body: preview } = await upload("/imports", options("dry-run", values), file);
        // One key for each preview, so that it is imported once, however often the user tries.
        const key = newKey();
        showPreview(outcome, preview, values.mode === "atomic", () => importFile(values, key));
      },
    }, ...fieldsOf(header));
    // A preview is only valid for the options that it was made with.
    element.addEventListener("change", () => outcome.replaceChildren());
    const importFile = (values, key) => submitForm(element, async () => {
      const { body } = await upload("/imports", options(values.mode, values), file, key);
      announce(`${counted(body.usage_count, "usage")} imported.`);
      section.replaceChildren(section.firstElementChild, h("p", { class: "note", role: "status" }, `${file.name}: ${counted(body.usage_count, "usage")} imported, ${exact(body.co2e_kg ?? "0")} kg CO2e.`), fileChooser());
      section.querySelector("input").focus();
      await onImported();
    });
    section.replaceChildren(section.firstElementChild,
      h("p", { class: "lead" }, h("strong", {}, file.name), ` has ${counted(header.names.length, "column")}: ${header.names.join(", ")}.`),
      sampleTable(header), element, outcome);
    element.querySelector("select").focus();
  }

  return section;
}

function sampleTable({ names, sample }) {
  return table({ caption: "First lines of the file", rows: sample, columns: names.map((title, index) => ({ title, cell: cells => cells[index] ?? "" })) });
}

function fieldsOf({ names }) {
  const column = ([name, label]) => field({ name: `column-${name}`, label, options: [["", "not in the file"], ...names.map(known => [known, known])], value: guess(name, names) });
  return [
    h("fieldset", {}, h("legend", {}, "Map columns"), h("div", { class: "grid" }, COLUMNS.slice(0, 4).map(column)),
      h("details", {}, h("summary", {}, "More columns"), h("div", { class: "grid" }, COLUMNS.slice(4).map(column)))),
    h("fieldset", {}, h("legend", {}, "Format"), h("div", { class: "grid" },
      field({ name: "usage_type_id", label: "Default usage type", options: [["", "from the file"], ...typeOptions()] }),
      field({ name: "region", label: "Region of the file", autocomplete: "off", placeholder: reference.organization.region ?? "None", hint: "For example GB. Default: the organization's region." }),
      field({ name: "timezone", label: "Time zone of times without an offset", options: [["", "all times have offsets"], ...timezones(timezone()).map(zone => [zone, zone])] }),
      field({ name: "fold", label: "Ambiguous local times", options: [["", "are errors"], ["order", "are in order"], ["first", "are the first"], ["second", "are the second"]] }),
      field({ name: "date_order", label: "Dates", options: [["", "2026-01-31"], ["ymd", "year, month, day"], ["dmy", "day, month, year"], ["mdy", "month, day, year"]] }),
      field({ name: "decimal", label: "Decimal separator", options: [[".", "point"], [",", "comma"]] }),
      field({ name: "round", label: "Round amounts", options: [["", "no"], ...["0", "1", "2", "3", "4", "5", "6"].map(digits => [digits, `to ${digits} digits`])] }),
      field({ name: "blank", label: "Lines without an amount", options: [["", "are errors"], ["skip", "are skipped"]] }),
      field({ name: "on_conflict", label: "Existing usages", options: [["reject", "are errors"], ["skip", "stay unchanged"], ["replace", "are corrected"]] }),
      field({ name: "again", label: "File that was imported before", options: [["", "is an error"], ["true", "is imported again"]] }),
      field({ name: "mode", label: "Lines with errors", options: [["atomic", "reject the file"], ["partial", "are skipped"]] }))),
  ];
}

// The API's arguments. A column of the file that is not mapped gets the name of an unused column, which is ignored.
function queryOf(values, { names, delimiter }) {
  const query = { delimiter: DELIMITERS[delimiter], ignore: [] };
  for (const name of ["usage_type_id", "region", "timezone", "fold", "date_order", "decimal", "round", "blank", "on_conflict", "again"]) query[name] = values[name];
  const mapped = new Map(COLUMNS.map(([ours]) => [values[`column-${ours}`], ours]).filter(([theirs]) => theirs));
  const unused = COLUMNS.map(([ours]) => ours).filter(ours => !values[`column-${ours}`]).reverse();
  const pairs = [];
  for (const theirs of names) {
    if (!mapped.has(theirs) && (DERIVED.has(theirs) || REJECTED.has(theirs))) continue;
    const ours = mapped.get(theirs) ?? (unused.includes(theirs) ? unused.splice(unused.indexOf(theirs), 1)[0] : unused.shift());
    if (ours === undefined) continue; // Too many columns to ignore. The API reports the unknown ones.
    if (!mapped.has(theirs)) query.ignore.push(ours);
    if (ours !== theirs) pairs.push(`${ours}:${theirs}`);
  }
  return { ...query, columns: pairs.join(",") };
}

function showPreview(outcome, preview, isAtomic, importFile) {
  const { errors, warnings } = preview;
  const rejected = Number(preview.rejected_count);
  outcome.replaceChildren(
    h("h3", {}, rejected ? `${counted(rejected, "line")} with errors` : "No errors"),
    h("p", {}, `${counted(preview.new_count, "new usage")}, ${exact(preview.co2e_kg ?? "0")} kg CO2e; ${count(Number(preview.changed_count))} corrected, ${count(Number(preview.unchanged_count) + Number(preview.skipped_count))} unchanged, ${count(Number(preview.blank_count))} without an amount. Nothing has been imported yet.`),
    errors.length ? table({ caption: "Errors by line", rows: errors, columns: [
      { title: "Line", isNumber: true, cell: error => error.line },
      { title: "Column", cell: error => error.column ?? "" },
      { title: "Value", isLong: true, cell: error => error.found ?? "" },
      { title: "Error", isLong: true, cell: error => error.message },
    ] }) : "",
    warnings.length ? table({ caption: "Warnings by line", rows: warnings, columns: [
      { title: "Line", isNumber: true, cell: warning => warning.line },
      { title: "Warning", isLong: true, cell: warning => warning.message },
    ] }) : "",
    rejected && isAtomic
      ? h("p", { class: "note" }, "Any error rejects the file. Fix the file, or choose to skip lines with errors.")
      : h("div", { class: "actions" }, button("Import", importFile, { class: "primary" })));
  announce(rejected ? `${counted(rejected, "line")} with errors.` : "No errors.");
}
