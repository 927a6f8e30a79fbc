// The user, their organization, and the usage types, users, sites and meters that numbers refer to. Loaded once for all views.

import { get, getAll } from "./api.js";

export const reference = { me: null, organization: null, usageTypes: [], users: [], sites: [], meters: [] };

export async function loadReferenceData() {
  const [me, organizations, usageTypes, users, sites, meters] = await Promise.all([
    get("/auth/me"), getAll("/organizations"), getAll("/usage-types"), getAll("/users"), getAll("/sites"), getAll("/meters"),
  ]);
  reference.me = me.body;
  reference.organization = organizations.find(organization => organization.id === me.body.organization_id);
  Object.assign(reference, { usageTypes, users, sites, meters });
}

// Use the changed settings of the organization.
export function useOrganization(organization) {
  reference.organization = organization;
}

export async function loadUsageTypes() {
  reference.usageTypes = await getAll("/usage-types");
}

export async function loadUsers() {
  reference.users = await getAll("/users");
}

export async function loadSites() {
  const [sites, meters] = await Promise.all([getAll("/sites"), getAll("/meters")]);
  Object.assign(reference, { sites, meters });
}

export function canWrite() {
  return reference.me.role !== "auditor";
}

export function canManage() {
  return reference.me.role === "manager" || isAdmin();
}

export function isAdmin() {
  return reference.me.role === "admin";
}

export function canSeeOtherUsers() {
  return reference.me.role !== "member";
}

export function timezone() {
  return reference.organization.timezone;
}

export function typeName(id) {
  const type = reference.usageTypes.find(known => known.id === id);
  return type ? `${type.name} (${type.unit})` : `usage type ${id}`;
}

export function userName(id) {
  return reference.users.find(user => user.id === id)?.name ?? `user ${id}`;
}

// A name of the API, such as a category, for readers.
export function words(name) {
  return name.replaceAll("_", " ");
}

// The options of a select.
export function typeOptions({ archived = false } = {}) {
  return reference.usageTypes.filter(type => archived || !type.archived).map(type => [type.id, `${type.name} (${type.unit})`]);
}

export function userOptions() {
  return reference.users.map(user => [user.id, user.name]);
}
