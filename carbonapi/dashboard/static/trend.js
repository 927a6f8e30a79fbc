// The API's trend, prepared for display: its series, and a description of each bucket.

import { add, exact, percent, sum } from "./decimals.js";
import { words } from "./reference_data.js";
import { meterOf, siteName, siteOf } from "./sites.js";
import { bucketNames } from "./times.js";

const MAX_SERIES = 8;
const UNNAMED = { usage_type: "unknown", scope: "no scope", category: "no category", site: "no site", meter: "no meter", region: "no region", user: "deleted users", organization: "unknown" };

// The groups of all buckets, largest first. Beyond eight, the smallest are combined into one series with several `keys`.
export function seriesOf(buckets, groupBy) {
  const groups = new Map();
  for (const bucket of buckets) {
    for (const { id, name, co2e_kg, unit } of bucket.groups ?? []) {
      const key = keyOf({ id, name });
      const group = groups.get(key) ?? { keys: [key], name: nameOf(groupBy, id, name), detail: detailOf(groupBy, id, unit), total: "0" };
      group.total = add(group.total, co2e_kg);
      groups.set(key, group);
    }
  }
  if (groups.size === 0) return [{ keys: null, name: "CO₂e", total: sum(buckets.map(bucket => bucket.co2e_kg)) }];
  const series = withDistinctNames([...groups.values()]).sort((one, other) => Number(other.total) - Number(one.total));
  const rest = series.splice(series.length > MAX_SERIES ? MAX_SERIES - 1 : MAX_SERIES);
  if (rest.length) {
    series.push({ keys: rest.flatMap(group => group.keys), name: `${rest.length} others`, total: sum(rest.map(group => group.total)) });
  }
  return series;
}

// Categories and regions have no id.
function keyOf({ id, name }) {
  return id ?? name;
}

function nameOf(groupBy, id, name) {
  if (groupBy === "category" && name !== null) return words(name);
  if (groupBy === "scope" && id !== null) return `Scope ${id}`;
  return name ?? UNNAMED[groupBy];
}

// What distinguishes groups with the same name: the unit of a usage type, the site of a meter, the parent of a site.
function detailOf(groupBy, id, unit) {
  if (groupBy === "site") return siteName(siteOf(id)?.parent_id ?? null);
  if (groupBy === "meter") return siteName(meterOf(id)?.site_id ?? null);
  return unit;
}

function withDistinctNames(groups) {
  const occurrences = name => groups.filter(group => group.name === name).length;
  return groups.map(({ name, detail, ...group }) => ({ ...group, name: occurrences(name) > 1 && detail ? `${name} (${detail})` : name }));
}

// The figures by the other method than the one of the chart.
export const OTHER = { location: "market", market: "location" };

// A bucket for display. `parts` are the digits of each series, in order; `text` describes the whole bucket. `other` is
// the total by the other method than `method`, or null if both are equal.
export function describeBucket(bucket, series, { kind, timezone, method }) {
  const [name, shortName] = bucketNames(bucket.bucket_start, kind, timezone);
  const parts = series.map(({ keys }) => (keys === null
    ? bucket.co2e_kg
    : sum(bucket.groups.filter(group => keys.includes(keyOf(group))).map(group => group.co2e_kg))));
  const isFuture = Date.parse(bucket.bucket_start) > Date.now();
  const coverage = bucket.coverage === null ? null : Number(bucket.coverage);
  const bar = {
    name, shortName, parts, coverage, isFuture,
    start: bucket.bucket_start,
    end: bucket.bucket_end,
    total: bucket.co2e_kg,
    location: bucket.location_co2e_kg,
    market: bucket.market_co2e_kg,
    other: bucket.location_co2e_kg === bucket.market_co2e_kg ? null : { method: OTHER[method], total: bucket[`${OTHER[method]}_co2e_kg`] },
    usageCount: Number(bucket.usage_count),
    estimatedShare: bucket.estimated_share === null ? null : Number(bucket.estimated_share),
    provisional: bucket.provisional_co2e_kg,
    isPartial: bucket.partial,
    isIncomplete: !isFuture && (bucket.partial || (coverage !== null && coverage < 1)),
    previous: bucket.previous && {
      start: bucket.previous.bucket_start,
      // Without usages there is no data, which is not the same as 0 kg.
      total: Number(bucket.previous.usage_count) ? bucket.previous.co2e_kg : null,
      coverage: bucket.previous.coverage,
      isComplete: bucket.previous.coverage !== null && Number(bucket.previous.coverage) === 1,
    },
  };
  return { ...bar, isComparable: isComparable(bar), remarks: remarksOf(bar), text: textOf(bar, series) };
}

// Whether both years have data for the whole bucket. One that has not ended yet would be compared with a longer one.
function isComparable({ usageCount, end, previous }) {
  return Boolean(previous) && previous.total !== null && usageCount > 0 && Date.parse(end) <= Date.now();
}

function remarksOf({ isFuture, isPartial, coverage, estimatedShare, provisional }) {
  return [
    isFuture && "In the future.",
    isPartial && "Partial bucket.",
    !isFuture && coverage !== null && coverage < 1 && `Incomplete: ${percent(coverage)} of the time has data.`,
    estimatedShare > 0 && `${percent(estimatedShare)} estimated.`,
    Number(provisional) !== 0 && `${exact(provisional)} kg provisional.`,
  ].filter(Boolean);
}

function textOf(bar, series) {
  const groups = series.length > 1
    ? bar.parts.map((digits, index) => [series[index].name, digits]).filter(([, digits]) => digits !== "0")
    : [];
  return [
    `${bar.name}: ${exact(bar.total)} kg CO2e.`,
    bar.other && `${bar.other.method}-based ${exact(bar.other.total)} kg.`,
    ...groups.map(([name, digits]) => `${name} ${exact(digits)} kg.`),
    bar.previous && (bar.previous.total === null ? "Previous year: no data." : `Previous year ${exact(bar.previous.total)} kg.`),
    ...remarksOf(bar),
  ].filter(Boolean).join(" ");
}
