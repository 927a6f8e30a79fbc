// The start of a CSV file: its delimiter, column names and first lines.

// Other common names of our columns.
const SYNONYMS = {
  usage_at: ["start", "begin", "time", "date", "datetime", "timestamp", "from", "period_start"],
  usage_until: ["end", "until", "to", "period_end"],
  amount: ["value", "consumption", "quantity", "kwh", "reading", "usage"],
  usage_type: ["type", "name"],
  user_email: ["email", "user"],
  external_id: ["meter", "reference"],
  note: ["comment", "description"],
};
const DELIMITERS = [",", ";", "\t", "|"];
const MAX_BYTES = 65_536;

export async function readHeader(file) {
  const text = (await file.slice(0, MAX_BYTES).text()).replace(/^\uFEFF/, "");
  const first = text.slice(0, text.search(/\r?\n|$/));
  const delimiter = DELIMITERS.reduce((best, next) => (first.split(next).length > first.split(best).length ? next : best));
  const lines = linesOf(text, delimiter, 4);
  return { delimiter, names: (lines[0] ?? []).map(name => name.trim()), sample: lines.slice(1) };
}

// Parse the first lines of CSV (RFC 4180).
function linesOf(text, delimiter, maxLines) {
  const lines = [];
  let cells = [];
  let cell = "";
  let isQuoted = false;
  for (let index = 0; index < text.length && lines.length < maxLines; index++) {
    const character = text[index];
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[index + 1] === '"') cell += text[++index];
      else isQuoted = false;
    } else if (character === '"') isQuoted = true;
    else if (character === delimiter) { cells.push(cell); cell = ""; }
    else if (character === "\n") { lines.push([...cells, cell.replace(/\r$/, "")]); cells = []; cell = ""; }
    else cell += character;
  }
  if (lines.length < maxLines && (cell || cells.length)) lines.push([...cells, cell]);
  return lines;
}

// The column of the file that probably matches one of ours, or "".
export function guess(ours, names) {
  const candidates = [ours, ...(SYNONYMS[ours] ?? [])];
  return candidates.map(candidate => names.find(name => name.toLowerCase().replaceAll(" ", "_") === candidate)).find(Boolean) ?? "";
}
