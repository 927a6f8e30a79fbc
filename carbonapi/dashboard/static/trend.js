// What the trend's answer means for who looks at it: its series, and each bucket in words.

import { add, exact, percent, sum } from "./decimals.js";
import { bucketNames } from "./times.js";

const MOST_SERIES = 8;
const UNNAMED = { usage_type: "unknown", scope: "no scope", user: "deleted users", organization: "unknown" };

// The groups of all buckets, the largest first; beyond eight, the smallest are one: `ids` tells whose parts it adds up.
export function seriesOf(buckets, groupBy) {
  const groups = new Map();
  for (const bucket of buckets) {
    for (const { id, name, co2e_kg, unit } of bucket.groups ?? []) {
      const found = groups.get(id) ?? { ids: [id], names: nameOf(groupBy, id, name), unit, total: "0" };
      found.total = add(found.total, co2e_kg);
      groups.set(id, found);
    }
  }
  if (groups.size === 0) return [{ ids: null, name: "CO₂e", total: sum(buckets.map(bucket => bucket.co2e_kg)) }];
  const ordered = distinct([...groups.values()]).sort((one, other) => Number(other.total) - Number(one.total));
  const rest = ordered.splice(ordered.length > MOST_SERIES ? MOST_SERIES - 1 : MOST_SERIES);
  if (rest.length) {
    ordered.push({ ids: rest.flatMap(one => one.ids), name: `${rest.length} others`, total: sum(rest.map(one => one.total)) });
  }
  return ordered;
}

function nameOf(groupBy, id, name) {
  if (groupBy === "scope" && id !== null) return `Scope ${id}`;
  return name ?? UNNAMED[groupBy];
}

// Usage types of one name are told apart by their units.
function distinct(groups) {
  const times = name => groups.filter(one => one.names === name).length;
  return groups.map(({ names: name, unit, ...one }) => ({ ...one, name: times(name) > 1 && unit ? `${name} (${unit})` : name }));
}

// A bucket as it is shown. `parts` are its series' digits, in their order; `text` is all of it in words.
export function toldOf(bucket, series, kind, timezone) {
  const [name, shortName] = bucketNames(bucket.bucket_start, kind, timezone);
  const parts = series.map(({ ids }) => (ids === null
    ? bucket.co2e_kg
    : sum(bucket.groups.filter(group => ids.includes(group.id)).map(group => group.co2e_kg))));
  const isToCome = Date.parse(bucket.bucket_start) > Date.now();
  const coverage = bucket.coverage === null ? null : Number(bucket.coverage);
  const told = {
    name, shortName, parts, coverage, isToCome,
    start: bucket.bucket_start,
    end: bucket.bucket_end,
    total: bucket.co2e_kg,
    usageCount: Number(bucket.usage_count),
    estimatedShare: bucket.estimated_share === null ? null : Number(bucket.estimated_share),
    isPartial: bucket.partial,
    isIncomplete: !isToCome && (bucket.partial || (coverage !== null && coverage < 1)),
    previous: bucket.previous && {
      start: bucket.previous.bucket_start,
      total: bucket.previous.co2e_kg,
      isComplete: bucket.previous.coverage !== null && Number(bucket.previous.coverage) === 1,
    },
  };
  return { ...told, remarks: remarksOf(told), text: textOf(told, series) };
}

function remarksOf({ isToCome, isPartial, coverage, estimatedShare }) {
  return [
    isToCome && "Yet to come.",
    isPartial && "The range cuts it.",
    !isToCome && coverage !== null && coverage < 1 && `Incomplete: ${percent(coverage)} of the time has data.`,
    estimatedShare > 0 && `${percent(estimatedShare)} estimated.`,
  ].filter(Boolean);
}

function textOf(told, series) {
  const groups = series.length > 1
    ? told.parts.map((digits, place) => [series[place].name, digits]).filter(([, digits]) => digits !== "0")
    : [];
  return [
    `${told.name}: ${exact(told.total)} kg CO2e.`,
    ...groups.map(([name, digits]) => `${name} ${exact(digits)} kg.`),
    told.previous && `The year before ${exact(told.previous.total)} kg.`,
    ...remarksOf(told),
  ].filter(Boolean).join(" ");
}
