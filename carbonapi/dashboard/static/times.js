// Instants and local dates: how they are written for a reader, and how what a reader writes becomes an instant.

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

// What a bucket is called: in full, and in short below its bar.
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

// The clock of a time zone at an instant, by parts.
function local(at, timezone) {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: timezone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }).formatToParts(at);
  return Object.fromEntries(parts.map(part => [part.type, part.value]));
}

export function today(timezone) {
  return localTime(new Date().toISOString(), timezone).slice(0, 10);
}

// What an <input type="datetime-local"> shows for an instant.
export function localTime(text, timezone) {
  const at = local(new Date(text), timezone);
  return `${at.year}-${at.month}-${at.day}T${at.hour}:${at.minute}${at.second === "00" ? "" : `:${at.second}`}`;
}

// The instant at which the clock of a time zone shows this; of a time that comes twice, the first.
export function instantOf(shown, timezone) {
  const asUtc = Date.parse(`${shown}Z`);
  const offset = at => Date.parse(`${localTime(new Date(at).toISOString(), timezone)}Z`) - Math.floor(at / 1000) * 1000;
  const candidates = [asUtc - offset(asUtc - 86_400_000), asUtc - offset(asUtc + 86_400_000)];
  const right = candidates.filter(at => at + offset(at) === asUtc);
  return new Date(right.length ? Math.min(...right) : candidates[0]).toISOString().replace(".000Z", "Z");
}

// A date so many days or months later. What is no date stays as it is, for the API to say so.
export function later(date, { days = 0, months = 0 }) {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(date)) return date;
  const [year, month, dayOfMonth] = date.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1 + months, dayOfMonth + days)).toISOString().slice(0, 10);
}

// [start, end) of a named range, as dates; nothing for all there is.
export function range(name, timezone, from, to) {
  const now = today(timezone);
  const month = `${now.slice(0, 7)}-01`;
  const year = `${now.slice(0, 4)}-01-01`;
  const ranges = {
    this_month: [month, later(month, { months: 1 })],
    last_month: [later(month, { months: -1 }), month],
    this_year: [year, later(year, { months: 12 })],
    last_year: [later(year, { months: -12 }), year],
    last_12_months: [later(month, { months: -11 }), later(month, { months: 1 })],
    free: [from, to && later(to, { days: 1 })],
  };
  const [start, end] = ranges[name] ?? [];
  return { start: start || undefined, end: end || undefined };
}

// Whether the browser knows this time zone: an address may say anything.
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
