// HTTP requests. Numbers in JSON become strings with the same digits, so that none is rounded.

// The service may be below a base path. This file is at /dashboard/<version>/http.js there.
export const API = new URL("../../api/v1", import.meta.url).pathname;

// A string matches as a whole, so every number that matches is outside of strings.
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function parseExactJson(text) {
  return JSON.parse(text.replace(STRING_OR_NUMBER, token => (token[0] === '"' ? token : `"${token}"`)));
}

// An error response of the API (RFC 9457). Status 0: there was no response.
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail ?? "Something went wrong. Try again.");
    this.status = status;
    this.byField = Object.assign({}, ...Object.values(body.errors ?? {}));
    this.lines = body.errors?.file ?? {};
    this.requestId = body.request_id;
  }
}

export async function request(method, url, { headers = {}, body, signal } = {}) {
  let response;
  try {
    response = await fetch(url, { method, headers, body, signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service is unreachable. Your input is still here: try again." });
  }
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const content = isJson && text ? parseExactJson(text) : undefined;
  if (!response.ok) throw new Problem(response.status, content);
  return {
    status: response.status,
    body: content,
    etag: response.headers.get("ETag"),
    pagination: JSON.parse(response.headers.get("X-Pagination") ?? "null"),
  };
}
