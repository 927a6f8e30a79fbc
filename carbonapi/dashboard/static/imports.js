// The files that were booked, and taking one back.

import { get, post } from "./api.js";
import { count, counted, exact } from "./decimals.js";
import { mayWrite, timezone, userName } from "./directory.js";
import * as dialogs from "./dialogs.js";
import { button, h, say } from "./dom.js";
import { importForm } from "./import_form.js";
import { addressOf, change, follow } from "./state.js";
import { pager, table } from "./table.js";
import { instant } from "./times.js";

export async function show(main, told, isSameView) {
  if (!isSameView || !main.querySelector(".results")) {
    main.append(
      mayWrite() ? importForm({ done: () => showPage(main, {}) }) : "",
      h("section", { class: "card", "aria-labelledby": "completed" },
        h("h2", { id: "completed" }, "Booked files"),
        h("div", { class: "results", "aria-busy": "true" })));
  }
  await showPage(main, told);
}

async function showPage(main, told) {
  const results = main.querySelector(".results");
  const { body: rows, pagination } = await get("/imports", { page: told.page, page_size: 20 });
  results.replaceChildren(
    table({ caption: "Imports", columns: columns(() => showPage(main, told)), rows, empty: "No file has been booked yet." }),
    pager(pagination, page => change({ page })));
  results.removeAttribute("aria-busy");
}

function columns(refresh) {
  return [
    { title: "No.", isNumber: true, of: one => one.id },
    { title: "Booked", of: one => instant(one.recorded_at, timezone()) },
    { title: "By", of: one => userName(one.recorded_by) },
    { title: "State", of: one => h("span", { class: `badge ${one.reverted_at ? "reverted" : one.status}` }, one.reverted_at ? "taken back" : one.status) },
    { title: "Usages", isNumber: true, of: one => h("a", { href: addressOf("usages", { import_id: one.id }), onclick: follow }, count(Number(one.usage_count))) },
    { title: "kg CO₂e", isNumber: true, of: one => (one.co2e_kg === null ? "" : exact(one.co2e_kg)) },
    { title: "Not booked", isNumber: true, of: one => count(Number(one.rejected_count)) },
    mayWrite() && { title: "Undo", of: one => (one.reverted_at || one.status !== "completed" ? "" :
      button("Take back", () => askToRevert(one, refresh), { class: "quiet", "aria-label": `Take back import ${one.id}` })) },
  ].filter(Boolean);
}

function askToRevert({ id, usage_count: usages }, refresh) {
  dialogs.confirm({
    title: `Take import ${id} back?`,
    question: `${counted(usages, "usage")} will be deleted as one act; what was believed of them stays in their versions.`,
    submit: "Take back",
    act: async reason => {
      await post(`/imports/${id}/revert`, reason ? { reason } : {});
      say(`Import ${id} has been taken back.`);
      await refresh();
    },
  });
}
