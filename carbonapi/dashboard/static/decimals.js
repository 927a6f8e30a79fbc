// Exact decimals as the text of their digits: sums of what the API gives, and how they are written for a reader.

const EXACT = formatter({ maximumFractionDigits: 100 });
const ROUNDED = formatter({ maximumSignificantDigits: 4 });
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const COUNT = new Intl.NumberFormat();

// Browsers before 2023 know no more than 20 digits after the point, and read text as a float: they show the digits as
// they are.
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
  return written(scaled(first, places) + scaled(second, places), places);
}

export function subtract(first, second) {
  return add(first, second.startsWith("-") ? second.slice(1) : `-${second}`);
}

export function sum(all) {
  return all.reduce(add, "0");
}

function placesOf(digits) {
  return digits.includes(".") ? digits.length - digits.indexOf(".") - 1 : 0;
}

function scaled(digits, places) {
  const [whole, fraction = ""] = digits.split(".");
  return BigInt(whole + fraction.padEnd(places, "0"));
}

function written(number, places) {
  const sign = number < 0n ? "-" : "";
  const digits = String(number < 0n ? -number : number).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const fraction = digits.slice(digits.length - places).replace(/0+$/, "");
  return sign + whole + (fraction ? `.${fraction}` : "");
}

// With every digit there is.
export function exact(digits) {
  return EXACT(digits);
}

// The unit in which masses up to this one are read best, and how many kg it has.
export function massUnit(kg) {
  return Math.abs(kg) >= 10_000 ? { name: "t", kg: 1000 } : { name: "kg", kg: 1 };
}

// Four digits of it, in kg or t.
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

// How many of something there are: 1 line, 2 lines.
export function counted(number, noun) {
  return `${count(number)} ${noun}${Number(number) === 1 ? "" : "s"}`;
}
