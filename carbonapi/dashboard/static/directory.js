// Who is signed in, and what the numbers refer to: the organization, usage types and users, read once for all views.

import { get, getAll } from "./api.js";

export const directory = { me: null, organization: null, usageTypes: [], users: [] };

export async function read() {
  const [me, organizations, usageTypes, users] = await Promise.all([
    get("/auth/me"), getAll("/organizations"), getAll("/usage-types"), getAll("/users"),
  ]);
  directory.me = me.body;
  directory.organization = organizations.find(one => one.id === me.body.organization_id);
  Object.assign(directory, { usageTypes, users });
}

export async function readUsageTypes() {
  directory.usageTypes = await getAll("/usage-types");
}

export async function readUsers() {
  directory.users = await getAll("/users");
}

export function mayWrite() {
  return directory.me.role !== "auditor";
}

export function mayManage() {
  return directory.me.role === "manager" || isAdmin();
}

export function isAdmin() {
  return directory.me.role === "admin";
}

// Whether others' usages are seen.
export function seesOthers() {
  return directory.me.role !== "member";
}

export function timezone() {
  return directory.organization.timezone;
}

export function typeName(id) {
  const found = directory.usageTypes.find(type => type.id === id);
  return found ? `${found.name} (${found.unit})` : `usage type ${id}`;
}

export function userName(id) {
  return directory.users.find(user => user.id === id)?.name ?? `user ${id}`;
}

// The usage types to choose from, as options of a select.
export function typeChoices({ archived = false } = {}) {
  return directory.usageTypes.filter(type => archived || !type.archived).map(type => [type.id, `${type.name} (${type.unit})`]);
}

export function userChoices() {
  return directory.users.map(user => [user.id, user.name]);
}
