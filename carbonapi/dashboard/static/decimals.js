// Exact decimals as strings of digits: addition, and formatting for readers.

const EXACT = formatter({ maximumFractionDigits: 100 });
const ROUNDED = formatter({ maximumSignificantDigits: 4 });
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const COUNT = new Intl.NumberFormat();

// Browsers before 2023 support 20 fraction digits and parse strings as floats. They show the digits without grouping.
function formatter(options) {
  try {
    const format = new Intl.NumberFormat(undefined, options);
    const isExact = new Intl.NumberFormat("en", { maximumFractionDigits: 100 }).format("0.10000000000000000001").endsWith("01");
    return isExact ? digits => format.format(digits) : digits => digits;
  } catch {
    return digits => digits;
  }
}

export function add(first, second) {
  const places = Math.max(placesOf(first), placesOf(second));
  return unscaled(scaled(first, places) + scaled(second, places), places);
}

export function sum(decimals) {
  return decimals.reduce(add, "0");
}

function placesOf(digits) {
  return digits.includes(".") ? digits.length - digits.indexOf(".") - 1 : 0;
}

function scaled(digits, places) {
  const [whole, fraction = ""] = digits.split(".");
  return BigInt(whole + fraction.padEnd(places, "0"));
}

function unscaled(number, places) {
  const sign = number < 0n ? "-" : "";
  const digits = String(number < 0n ? -number : number).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const fraction = digits.slice(digits.length - places).replace(/0+$/, "");
  return sign + whole + (fraction ? `.${fraction}` : "");
}

// All digits.
export function exact(digits) {
  return EXACT(digits);
}

// The unit for masses up to this one, and its size in kg.
export function massUnit(kg) {
  return Math.abs(kg) >= 10_000 ? { name: "t", kg: 1000 } : { name: "kg", kg: 1 };
}

// Four significant digits, in kg or t.
export function rounded(digits) {
  const unit = massUnit(Number(digits));
  return `${ROUNDED(String(Number(digits) / unit.kg))} ${unit.name}`;
}

export function percent(share) {
  return PERCENT.format(share);
}

export function count(number) {
  return COUNT.format(number);
}

// A number with its noun: 1 line, 2 lines.
export function counted(number, noun) {
  return `${count(number)} ${noun}${Number(number) === 1 ? "" : "s"}`;
}
