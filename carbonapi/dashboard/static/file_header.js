// The beginning of a CSV file: what parts its cells, the names of its columns, and its first lines.

// What other people call our columns.
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
const BYTES = 65_536;

export async function readHeader(file) {
  const text = (await file.slice(0, BYTES).text()).replace(/^\uFEFF/, "");
  const first = text.slice(0, text.search(/\r?\n|$/));
  const delimiter = DELIMITERS.reduce((best, one) => (first.split(one).length > first.split(best).length ? one : best));
  const lines = linesOf(text, delimiter, 4);
  return { delimiter, names: (lines[0] ?? []).map(name => name.trim()), sample: lines.slice(1) };
}

// The first lines of CSV (RFC 4180), each as its cells.
function linesOf(text, delimiter, most) {
  const lines = [];
  let cells = [];
  let cell = "";
  let isQuoted = false;
  for (let place = 0; place < text.length && lines.length < most; place++) {
    const letter = text[place];
    if (isQuoted) {
      if (letter !== '"') cell += letter;
      else if (text[place + 1] === '"') cell += text[++place];
      else isQuoted = false;
    } else if (letter === '"') isQuoted = true;
    else if (letter === delimiter) { cells.push(cell); cell = ""; }
    else if (letter === "\n") { lines.push([...cells, cell.replace(/\r$/, "")]); cells = []; cell = ""; }
    else cell += letter;
  }
  if (lines.length < most && (cell || cells.length)) lines.push([...cells, cell]);
  return lines;
}

// The column of the file that is probably ours of this name; "" if none is.
export function guess(ours, names) {
  const wanted = [ours, ...(SYNONYMS[ours] ?? [])];
  return wanted.map(word => names.find(name => name.toLowerCase().replaceAll(" ", "_") === word)).find(Boolean) ?? "";
}
