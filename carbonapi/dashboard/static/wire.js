// One request and its answer. JSON is read so that no number loses a digit: each stands as the text of its digits.

// A string is passed over as a whole; whatever number is left stands outside of any.
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function readExactly(text) {
  return JSON.parse(text.replace(STRING_OR_NUMBER, token => (token[0] === '"' ? token : `"${token}"`)));
}

// What went wrong, as the API tells it (RFC 9457). Status 0: there was no answer at all.
export class Problem extends Error {
  constructor(status, told = {}) {
    super(told.detail ?? "Something went wrong. Try again.");
    this.status = status;
    this.byField = Object.assign({}, ...Object.values(told.errors ?? {}));
    this.lines = told.errors?.file ?? {};
    this.requestId = told.request_id;
  }
}

export async function ask(method, path, { headers = {}, body, signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service cannot be reached. Nothing is lost: try again." });
  }
  const text = await answer.text();
  const isJson = /json/.test(answer.headers.get("Content-Type") ?? "");
  const told = isJson && text ? readExactly(text) : undefined;
  if (!answer.ok) throw new Problem(answer.status, told);
  return {
    status: answer.status,
    body: told,
    etag: answer.headers.get("ETag"),
    pagination: JSON.parse(answer.headers.get("X-Pagination") ?? "null"),
  };
}
