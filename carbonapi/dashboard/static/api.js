// Signed requests to the API. One that is refused because its token has expired is sent again with the next token.

import { freshToken } from "./session.js";
import { ask, Problem } from "./wire.js";

// Posts that got no answer, with the Idempotency-Key they had: sent again as they were, they are done once.
const unanswered = new Map();

export function get(path, query, signal) {
  return signed("GET", address(path, query), { signal });
}

// Every row of a list that is not long, such as the usage types.
export async function getAll(path, query = {}) {
  const rows = [];
  for (let page = 1; page !== null;) {
    const { body, pagination } = await get(path, { ...query, page, page_size: 1000 });
    rows.push(...body);
    page = pagination.next_page;
  }
  return rows;
}

export function post(path, fields) {
  return once(path, JSON.stringify(fields), fields, "application/json");
}

// A file as the body. `file` may be large: the browser streams it.
export function upload(path, query, file) {
  return once(address(path, query), file, [file.name, file.size, file.lastModified], "text/csv");
}

export function patch(path, fields, etag) {
  const headers = { "Content-Type": "application/json", "If-Match": etag };
  return signed("PATCH", address(path), { headers, body: JSON.stringify(fields) });
}

export function remove(path, query, etag) {
  return signed("DELETE", address(path, query), { headers: { "If-Match": etag } });
}

async function once(path, body, content, type) {
  const full = path.startsWith("/api/") ? path : address(path);
  const act = JSON.stringify([full, content]);
  const key = unanswered.get(act) ?? newKey();
  try {
    const answer = await signed("POST", full, { headers: { "Content-Type": type, "Idempotency-Key": key }, body });
    unanswered.delete(act);
    return answer;
  } catch (problem) {
    if (problem.status === 0) unanswered.set(act, key);
    else unanswered.delete(act);
    throw problem;
  }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}

async function signed(method, path, options) {
  const token = await freshToken(null);
  const send = bearer => ask(method, path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${bearer}` } });
  try {
    return await send(token);
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 401) throw problem;
    return send(await freshToken(token));
  }
}

// Arguments that are empty are left out; a list repeats its name.
function address(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) parameters.append(name, one);
  }
  const text = parameters.toString();
  return `/api/v1${path}${text ? `?${text}` : ""}`;
}
