// Authorized requests to the API. If a token has expired, the request is repeated with the next one.

import { API, request, Problem } from "./http.js";
import { freshToken } from "./session.js";

// The Idempotency-Keys of POST requests without a response. Repeated with the same key, a request has a single effect.
const unanswered = new Map();

export function get(path, query, signal) {
  return authorized("GET", urlOf(path, query), { signal });
}

// All rows of a short list, such as the usage types.
export async function getAll(path, query = {}) {
  const rows = [];
  for (let page = 1; page !== null;) {
    const { body, pagination } = await get(path, { ...query, page, page_size: 1000 });
    rows.push(...body);
    page = pagination.next_page;
  }
  return rows;
}

// key: the Idempotency-Key of an action that must have a single effect, however often the user starts it.
export function post(path, fields, key) {
  return postIdempotent(urlOf(path), JSON.stringify(fields), fields, "application/json", key);
}

// A file as the body, which the browser streams.
export function upload(path, query, file, key) {
  return postIdempotent(urlOf(path, query), file, [file.name, file.size, file.lastModified], "text/csv", key);
}

export function patch(path, fields, etag) {
  const headers = { "Content-Type": "application/json", "If-Match": etag };
  return authorized("PATCH", urlOf(path), { headers, body: JSON.stringify(fields) });
}

export function remove(path, query, etag) {
  return authorized("DELETE", urlOf(path, query), { headers: { "If-Match": etag } });
}

async function postIdempotent(url, body, content, type, givenKey) {
  const identity = JSON.stringify([url, content]);
  const key = givenKey ?? unanswered.get(identity) ?? newKey();
  try {
    const response = await authorized("POST", url, { headers: { "Content-Type": type, "Idempotency-Key": key }, body });
    unanswered.delete(identity);
    return response;
  } catch (problem) {
    if (problem.status === 0) unanswered.set(identity, key);
    else unanswered.delete(identity);
    throw problem;
  }
}

export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
}

async function authorized(method, url, options) {
  const token = await freshToken(null);
  const send = bearer => request(method, url, { ...options, headers: { ...options.headers, Authorization: `Bearer ${bearer}` } });
  try {
    return await send(token);
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 401) throw problem;
    return send(await freshToken(token));
  }
}

// Empty arguments are omitted. A list repeats its name.
function urlOf(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) if (value !== "" && value !== null && value !== undefined) parameters.append(name, value);
  }
  const text = parameters.toString();
  return `${API}${path}${text ? `?${text}` : ""}`;
}
