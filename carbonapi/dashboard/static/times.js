// Instants and local dates: formatting for readers, and parsing of local input.

const formats = new Map();

function format(options, timezone) {
  const key = JSON.stringify([options, timezone]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(undefined, { ...options, timeZone: timezone }));
  return formats.get(key);
}

export function instant(text, timezone) {
  return text === null ? "" : format({ dateStyle: "medium", timeStyle: "short" }, timezone).format(new Date(text));
}

export function day(text, timezone) {
  return format({ dateStyle: "medium" }, timezone).format(new Date(text));
}

// The full name of a bucket, and the short one below its bar.
export function bucketNames(start, bucket, timezone) {
  const at = new Date(start);
  const write = options => format(options, timezone).format(at);
  if (bucket === "hour") return [write({ dateStyle: "medium", timeStyle: "short" }), write({ hour: "2-digit", minute: "2-digit" })];
  if (bucket === "day") return [write({ dateStyle: "full" }), write({ day: "numeric", month: "short" })];
  if (bucket === "week") return [`Week of ${write({ dateStyle: "long" })}`, write({ day: "numeric", month: "short" })];
  if (bucket === "year") return [write({ year: "numeric" }), write({ year: "numeric" })];
  if (bucket === "quarter") {
    const quarter = `Q${Math.ceil(Number(local(at, timezone).month) / 3)} ${local(at, timezone).year}`;
    return [quarter, quarter];
  }
  return [write({ month: "long", year: "numeric" }), write({ month: "short", year: "2-digit" })];
}

// The local date and time of an instant, in parts.
function local(at, timezone) {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: timezone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }).formatToParts(at);
  return Object.fromEntries(parts.map(part => [part.type, part.value]));
}

export function today(timezone) {
  return localTime(new Date().toISOString(), timezone).slice(0, 10);
}

// The value of an <input type="datetime-local"> for an instant.
export function localTime(text, timezone) {
  const at = local(new Date(text), timezone);
  return `${at.year}-${at.month}-${at.day}T${at.hour}:${at.minute}${at.second === "00" ? "" : `:${at.second}`}`;
}

// The instant of a local time. If the clock shows the time twice, it is the first one.
export function instantOf(localTimestamp, timezone) {
  const asUtc = Date.parse(`${localTimestamp}Z`);
  const offset = at => Date.parse(`${localTime(new Date(at).toISOString(), timezone)}Z`) - Math.floor(at / 1000) * 1000;
  const candidates = [asUtc - offset(asUtc - 86_400_000), asUtc - offset(asUtc + 86_400_000)];
  const exact = candidates.filter(at => at + offset(at) === asUtc);
  return new Date(exact.length ? Math.min(...exact) : candidates[0]).toISOString().replace(".000Z", "Z");
}

// A date plus days or months. Invalid dates stay the same, and the API rejects them.
export function later(date, { days = 0, months = 0 }) {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(date)) return date;
  const [year, month, dayOfMonth] = date.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1 + months, dayOfMonth + days)).toISOString().slice(0, 10);
}

// The dates [start, end) of a named range. Both are undefined for all time.
export function dateRange(name, timezone, from, to) {
  const now = today(timezone);
  const month = `${now.slice(0, 7)}-01`;
  const year = `${now.slice(0, 4)}-01-01`;
  const ranges = {
    this_month: [month, later(month, { months: 1 })],
    last_month: [later(month, { months: -1 }), month],
    this_year: [year, later(year, { months: 12 })],
    last_year: [later(year, { months: -12 }), year],
    last_12_months: [later(month, { months: -11 }), later(month, { months: 1 })],
    custom: [from, to && later(to, { days: 1 })],
  };
  const [start, end] = ranges[name] ?? [];
  return { start: start || undefined, end: end || undefined };
}

// Whether the browser knows this time zone, which may come from a manipulated URL.
export function isTimezone(name) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

export function timezones(...known) {
  const all = Intl.supportedValuesOf?.("timeZone") ?? [];
  return [...new Set([...known, "UTC", ...all])].sort();
}
