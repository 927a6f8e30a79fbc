// The names of sites and meters, and the options of their selects.

import { reference } from "./reference_data.js";

const INDENT = "\u00a0".repeat(3);

export function siteName(id) {
  return id === null ? "" : siteOf(id)?.name ?? `site ${id}`;
}

// Meters of several sites often have the same name, so the name of the site follows.
export function meterName(id) {
  const meter = meterOf(id);
  return meter ? `${meter.name}, ${siteName(meter.site_id)}` : `meter ${id}`;
}

// The meter of a usage or a series, or else its site.
export function placeName({ meter_id: meter, site_id: site }) {
  return meter === null ? siteName(site) : meterName(meter);
}

export function siteOf(id) {
  return reference.sites.find(site => site.id === id);
}

export function meterOf(id) {
  return reference.meters.find(meter => meter.id === id);
}

// The sites, each after its parent, with their level in the tree. A parent that the user does not see is omitted.
export function siteTree() {
  const known = new Set(reference.sites.map(site => site.id));
  const below = new Map();
  for (const site of reference.sites) {
    const parent = known.has(site.parent_id) ? site.parent_id : null;
    below.set(parent, [...(below.get(parent) ?? []), site]);
  }
  const branch = (parent, level) => (below.get(parent) ?? [])
    .sort((one, other) => one.name.localeCompare(other.name))
    .flatMap(site => [{ ...site, level }, ...branch(site.id, level + 1)]);
  return branch(null, 0);
}

// A name, indented by its level.
export function indented({ name, level }) {
  return INDENT.repeat(level) + name;
}

// keep: the id of a site that is an option in any case.
export function siteOptions({ archived = false, keep = null } = {}) {
  const options = siteTree().filter(site => archived || !site.archived || site.id === keep).map(site => [site.id, indented(site)]);
  return keep === null || siteOf(keep) ? options : [...options, [keep, siteName(keep)]];
}

// The meters in the order of their sites. keep: the id of a meter that is an option in any case.
export function meterOptions({ keep = null } = {}) {
  const order = new Map(siteTree().map(({ id }, index) => [id, index]));
  const isOpen = meter => !meter.archived && !siteOf(meter.site_id)?.archived;
  const options = reference.meters.filter(meter => isOpen(meter) || meter.id === keep)
    .sort((one, other) => order.get(one.site_id) - order.get(other.site_id) || one.name.localeCompare(other.name))
    .map(meter => [meter.id, meterName(meter.id)]);
  return keep === null || meterOf(keep) ? options : [...options, [keep, meterName(keep)]];
}
