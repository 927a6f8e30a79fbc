// The users of the organization: inviting, activating and deactivating them, and links to set a password.

import { get, patch, post } from "./api.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h, replaceContent } from "./dom.js";
import { field, form } from "./forms.js";
import { NEW_PASSWORD_HINT } from "./login.js";
import { isAdmin, loadUsers, reference, timezone } from "./reference_data.js";
import { changeParams, passwordLink } from "./router.js";
import { pager, table } from "./table.js";
import { day, instant } from "./times.js";

const ROLES = [["member", "Member: own usages"], ["manager", "Manager: everything in the organization"], ["auditor", "Auditor: reads everything, writes nothing"]];

export async function show(view, params, isSameView) {
  if (!isSameView || !view.querySelector(".results")) {
    view.append(
      h("div", { class: "title" }, h("p", { class: "lead" }, "The users of your organization and their roles."), button("Add a user", () => openForm(view), { class: "primary" })),
      h("div", { class: "results card", "aria-busy": "true" }));
  }
  await showPage(view, params);
}

async function showPage(view, params) {
  const sort = params.sort ?? "name";
  const { body: rows, pagination } = await get("/users", { sort, page: params.page, page_size: 25 });
  const results = view.querySelector(".results");
  replaceContent(results,
    table({ caption: "Users", rows, sort, onsort: order => changeParams({ sort: order, page: "" }), columns: [
      { title: "Name", sort: "name", cell: user => user.name },
      { title: "E-mail", sort: "email", cell: user => user.email },
      { title: "Role", cell: user => user.role },
      { title: "Created", sort: "created_at", cell: user => day(user.created_at, timezone()) },
      { title: "Status", cell: user => h("span", { class: `badge ${user.active ? "completed" : "reverted"}` }, user.active ? "active" : "deactivated") },
      { title: "Actions", cell: user => (user.id === reference.me.id ? "" : h("div", { class: "row" },
        action(user.active ? "Deactivate" : "Activate", user, () => confirmToggle(view, params, user)),
        user.active && (user.role !== "admin" || isAdmin()) && action("Password link", user, () => confirmPasswordLink(user)))) },
    ] }),
    pager(pagination, page => changeParams({ page })));
  results.removeAttribute("aria-busy");
}

function action(text, { id, name }, act) {
  // Deactivating and activating are one button, so they have one key.
  const kind = text === "Password link" ? "link" : "toggle";
  return button(text, act, { class: "quiet", "data-key": `${kind} ${id}`, "aria-label": text === "Password link" ? `Password link for ${name}` : `${text} ${name}` });
}

// Makes a new link, after a lost password or an expired invitation.
function confirmPasswordLink({ id, name, email }) {
  dialogs.open(`Create a password link for ${name}?`, close => form({
    submit: "Create a link", cancel: close,
    send: async () => {
      const { body } = await post(`/users/${id}/reset`, {});
      close();
      showPasswordLink({ name, email, token: body.token, expiresAt: body.expires_at });
    },
  }, h("p", {}, `With the link, ${name} sets a new password. Their sessions end, and earlier links stop working. Until then, their current password works.`)));
}

// The API returns a token once, and only if the service sends no mail.
function showPasswordLink({ name, email, token, expiresAt }) {
  const until = `It can be used once, until ${instant(expiresAt, timezone())}.`;
  if (!token) {
    dialogs.open("Link sent", close => h("div", { class: "stack" },
      h("p", {}, `${name} has received a link to set a password at ${email}. ${until}`),
      h("div", { class: "actions" }, button("Close", close, { class: "primary" }))));
    return;
  }
  const link = h("input", { readonly: true, value: passwordLink(token), "aria-label": "Link", onfocus: () => link.select() });
  const copied = h("span", { class: "hint", role: "status" });
  const copy = async () => {
    link.select();
    // Browsers have no clipboard on plain HTTP. There the user copies the selected link.
    await navigator.clipboard?.writeText(link.value);
    copied.textContent = navigator.clipboard ? "Copied." : "Press Ctrl+C to copy.";
  };
  dialogs.open(`Link for ${name}`, close => h("div", { class: "stack" },
    h("p", {}, `Send this link to ${name}. With it they set a password. ${until}`),
    h("p", {}, "The link is shown only now. If it is lost, create another one with “Password link”."),
    link,
    h("div", { class: "actions" }, button("Copy", copy, { class: "primary", autofocus: true }), button("Close", close), copied)));
}

async function confirmToggle(view, params, { id, name, active }) {
  const { etag } = await get(`/users/${id}`);
  dialogs.open(active ? `Deactivate ${name}?` : `Activate ${name}?`, close => form({
    submit: active ? "Deactivate" : "Activate", cancel: close,
    send: async () => {
      await patch(`/users/${id}`, { active: !active }, etag);
      close();
      announce(`${name} is ${active ? "deactivated" : "active"}.`);
      await showPage(view, params);
    },
  }, h("p", {}, active
    ? "They will be logged out and can no longer log in. Their usages remain."
    : "They will be able to log in again.")));
}

function openForm(view) {
  dialogs.open("Add a user", close => form({
    submit: "Add", cancel: close,
    send: async fields => {
      const { body: user } = await post("/users", fields);
      close();
      announce("Added.");
      if (user.invitation_expires_at) showPasswordLink({ ...user, token: user.invitation_token, expiresAt: user.invitation_expires_at });
      await loadUsers();
      await showPage(view, {});
    },
  },
  field({ name: "name", label: "Name", autocomplete: "off" }),
  field({ name: "email", label: "E-mail address", type: "email", autocomplete: "off" }),
  field({ name: "role", label: "Role", options: ROLES }),
  field({ name: "password", label: "Initial password (optional)", type: "password", autocomplete: "new-password", hint: `If blank, you get a link with which they set a password. ${NEW_PASSWORD_HINT}` })));
}
