// The people of the organization: adding them, and keeping one out.

import { get, patch, post } from "./api.js";
import { directory, readUsers, timezone } from "./directory.js";
import * as dialogs from "./dialogs.js";
import { button, h, say } from "./dom.js";
import { field, form } from "./forms.js";
import { change } from "./state.js";
import { pager, table } from "./table.js";
import { day } from "./times.js";

const ROLES = [["member", "Member: own usages"], ["manager", "Manager: everything of the organization"], ["auditor", "Auditor: reads everything, writes nothing"]];

export async function show(main, told, isSameView) {
  if (!isSameView || !main.querySelector(".results")) {
    main.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, "Who may sign in, and what they may do."), button("Add a user", () => add(main), { class: "primary" })),
      h("div", { class: "results card", "aria-busy": "true" }));
  }
  await showPage(main, told);
}

async function showPage(main, told) {
  const sort = told.sort ?? "name";
  const { body: rows, pagination } = await get("/users", { sort, page: told.page, page_size: 25 });
  const results = main.querySelector(".results");
  results.replaceChildren(
    table({ caption: "Users", rows, sort, onsort: order => change({ sort: order, page: "" }), columns: [
      { title: "Name", sort: "name", of: user => user.name },
      { title: "E-mail", sort: "email", of: user => user.email },
      { title: "Role", of: user => user.role },
      { title: "Since", sort: "created_at", of: user => day(user.created_at, timezone()) },
      { title: "State", of: user => h("span", { class: `badge ${user.active ? "completed" : "reverted"}` }, user.active ? "active" : "deactivated") },
      { title: "Change", of: user => (user.id === directory.me.id ? "" :
        button(user.active ? "Deactivate" : "Activate", () => ask(main, told, user), { class: "quiet", "aria-label": `${user.active ? "Deactivate" : "Activate"} ${user.name}` })) },
    ] }),
    pager(pagination, page => change({ page })));
  results.removeAttribute("aria-busy");
}

async function ask(main, told, { id, name, active }) {
  const { etag } = await get(`/users/${id}`);
  dialogs.open(active ? `Deactivate ${name}?` : `Activate ${name}?`, close => form({
    submit: active ? "Deactivate" : "Activate", cancel: close,
    send: async () => {
      await patch(`/users/${id}`, { active: !active }, etag);
      close();
      say(`${name} is ${active ? "deactivated" : "active"}.`);
      await showPage(main, told);
    },
  }, h("p", {}, active ? "They are signed out and kept out. Their usages stay." : "They may sign in again.")));
}

function add(main) {
  dialogs.open("Add a user", close => form({
    submit: "Add", cancel: close,
    send: async told => {
      await post("/users", told);
      close();
      say("Added.");
      await readUsers();
      await showPage(main, {});
    },
  },
  field({ name: "name", label: "Name", autocomplete: "off" }),
  field({ name: "email", label: "E-mail address", type: "email", autocomplete: "off" }),
  field({ name: "role", label: "Role", options: ROLES }),
  field({ name: "password", label: "First password", type: "password", autocomplete: "new-password", hint: "12 characters or more, and not a common one." })));
}
