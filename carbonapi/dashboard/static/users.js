// The users of the organization: adding, activating and deactivating them.

import { get, patch, post } from "./api.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h } from "./dom.js";
import { field, form } from "./forms.js";
import { loadUsers, reference, timezone } from "./reference_data.js";
import { changeParams } from "./router.js";
import { pager, table } from "./table.js";
import { day } from "./times.js";

const ROLES = [["member", "Member: own usages"], ["manager", "Manager: everything in the organization"], ["auditor", "Auditor: reads everything, writes nothing"]];

export async function show(main, params, isSameView) {
  if (!isSameView || !main.querySelector(".results")) {
    main.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, "The users of your organization and their roles."), button("Add a user", () => openForm(main), { class: "primary" })),
      h("div", { class: "results card", "aria-busy": "true" }));
  }
  await showPage(main, params);
}

async function showPage(main, params) {
  const sort = params.sort ?? "name";
  const { body: rows, pagination } = await get("/users", { sort, page: params.page, page_size: 25 });
  const results = main.querySelector(".results");
  results.replaceChildren(
    table({ caption: "Users", rows, sort, onsort: order => changeParams({ sort: order, page: "" }), columns: [
      { title: "Name", sort: "name", cell: user => user.name },
      { title: "E-mail", sort: "email", cell: user => user.email },
      { title: "Role", cell: user => user.role },
      { title: "Created", sort: "created_at", cell: user => day(user.created_at, timezone()) },
      { title: "Status", cell: user => h("span", { class: `badge ${user.active ? "completed" : "reverted"}` }, user.active ? "active" : "deactivated") },
      { title: "Actions", cell: user => (user.id === reference.me.id ? "" :
        button(user.active ? "Deactivate" : "Activate", () => confirmToggle(main, params, user), { class: "quiet", "aria-label": `${user.active ? "Deactivate" : "Activate"} ${user.name}` })) },
    ] }),
    pager(pagination, page => changeParams({ page })));
  results.removeAttribute("aria-busy");
}

async function confirmToggle(main, params, { id, name, active }) {
  const { etag } = await get(`/users/${id}`);
  dialogs.open(active ? `Deactivate ${name}?` : `Activate ${name}?`, close => form({
    submit: active ? "Deactivate" : "Activate", cancel: close,
    send: async () => {
      await patch(`/users/${id}`, { active: !active }, etag);
      close();
      announce(`${name} is ${active ? "deactivated" : "active"}.`);
      await showPage(main, params);
    },
  }, h("p", {}, active
    ? "They will be logged out and can no longer log in. Their usages remain."
    : "They will be able to log in again.")));
}

function openForm(main) {
  dialogs.open("Add a user", close => form({
    submit: "Add", cancel: close,
    send: async fields => {
      await post("/users", fields);
      close();
      announce("Added.");
      await loadUsers();
      await showPage(main, {});
    },
  },
  field({ name: "name", label: "Name", autocomplete: "off" }),
  field({ name: "email", label: "E-mail address", type: "email", autocomplete: "off" }),
  field({ name: "role", label: "Role", options: ROLES }),
  field({ name: "password", label: "Initial password", type: "password", autocomplete: "new-password", hint: "At least 12 characters, and not a common password." })));
}
