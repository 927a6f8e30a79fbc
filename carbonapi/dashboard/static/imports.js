// The list of imports, and the action that reverts an import.

import { get, post } from "./api.js";
import { count, counted, exact } from "./decimals.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { importForm } from "./import_form.js";
import { canWrite, timezone, userName } from "./reference_data.js";
import { changeParams, followLink, urlOf } from "./router.js";
import { pager, table } from "./table.js";
import { instant } from "./times.js";

export async function show(view, params, isSameView) {
  if (!isSameView || !view.querySelector(".results")) {
    view.append(
      canWrite() ? importForm({ onImported: () => showPage(view, {}) }) : "",
      h("section", { class: "card", "aria-labelledby": "imports-title" },
        h("h2", { id: "imports-title" }, "Imports"),
        h("div", { class: "results", "aria-busy": "true" })));
  }
  await showPage(view, params);
}

async function showPage(view, params) {
  const results = view.querySelector(".results");
  const { body: rows, pagination } = await get("/imports", { page: params.page, page_size: 20 });
  replaceContent(results,
    table({ caption: "List of imports", columns: columns(() => showPage(view, params)), rows, empty: "No imports yet." }),
    pager(pagination, page => changeParams({ page })));
  results.removeAttribute("aria-busy");
}

function columns(refresh) {
  return [
    { title: "ID", isNumber: true, cell: row => row.id },
    { title: "Imported", cell: row => instant(row.recorded_at, timezone()) },
    { title: "By", cell: row => userName(row.recorded_by) },
    { title: "Status", cell: row => h("span", { class: `badge ${row.reverted_at ? "reverted" : row.status}` }, row.reverted_at ? "reverted" : row.status) },
    { title: "Usages", isNumber: true, cell: row => h("a", { href: urlOf("usages", { import_id: row.id }), onclick: followLink }, count(Number(row.usage_count))) },
    { title: "kg CO₂e", isNumber: true, cell: row => (row.co2e_kg === null ? "" : exact(row.co2e_kg)) },
    { title: "Rejected lines", isNumber: true, cell: row => count(Number(row.rejected_count)) },
    canWrite() && { title: "Actions", cell: row => (row.reverted_at || row.status !== "completed" ? "" :
      button("Revert", () => confirmRevert(row, refresh), { class: "quiet", "data-key": `revert ${row.id}`, "aria-label": `Revert import ${row.id}` })) },
  ].filter(Boolean);
}

function confirmRevert({ id, usage_count: usages }, refresh) {
  dialogs.confirm({
    title: `Revert import ${id}?`,
    question: `${counted(usages, "usage")} will be deleted. Their versions remain.`,
    submit: "Revert",
    act: async reason => {
      await post(`/imports/${id}/revert`, reason ? { reason } : {});
      announce(`Import ${id} has been reverted.`);
    },
    done: refresh,
  });
}
