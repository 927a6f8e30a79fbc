// Being signed in: the two tokens, and getting the next pair when the first has expired.
//
// The access token is in memory alone. The refresh token is in localStorage: so a reload, and a link that is opened in
// another tab, find somebody signed in, and all tabs share one token. In sessionStorage each tab would have a copy, and
// the second to use it would end the session, for a refresh token is good once. A script of somebody else's could read
// either; that none runs here is what the page's Content-Security-Policy is for: scripts from here alone, no text that
// becomes markup. Signing out, in any tab, removes it and ends the session.

import { ask, Problem } from "./wire.js";

const KEPT = "carbonapi-refresh-token";
const AUTH = "/api/v1/auth";
let accessToken = null;
let refreshing = null;
let whenOver = () => {};

export function isSignedIn() {
  return accessToken !== null || localStorage.getItem(KEPT) !== null;
}

// What is to happen when the session is over: by signing out, in this tab or in another, or because it has ended.
export function onOver(listener) {
  whenOver = listener;
  addEventListener("storage", event => {
    if (event.key === KEPT && event.newValue === null) forget();
  });
}

export async function signIn(email, password) {
  keep((await post("login", JSON.stringify({ email, password }))).body);
}

export async function register(account) {
  await post("register", JSON.stringify(account));
  await signIn(account.email, account.password);
}

export async function signOut() {
  const logOut = token => ask("POST", `${AUTH}/logout`, { headers: { Authorization: `Bearer ${token}` } });
  try {
    const token = await freshToken(null);
    await logOut(token).catch(async problem => {
      if (problem.status === 401) await logOut(await freshToken(token));
    });
  } catch {
    // Whoever wants to leave leaves: without an answer, the session ends by itself when its token expires.
  }
  forget();
}

// An access token that is not the one refused. However many requests ask, one refresh answers them all.
export function freshToken(refused) {
  if (accessToken !== null && accessToken !== refused) return Promise.resolve(accessToken);
  refreshing ??= inTurn(refresh).finally(() => { refreshing = null; });
  return refreshing;
}

// Tabs take turns, that each reads the token which the one before it was given. Browsers let pages that come over plain
// HTTP have no locks: then two may refresh with the same token, which the API allows for half a minute.
function inTurn(work) {
  return navigator.locks ? navigator.locks.request(KEPT, work) : work();
}

async function refresh() {
  const token = localStorage.getItem(KEPT);
  if (token === null) throw over();
  try {
    keep((await ask("POST", `${AUTH}/refresh`, { headers: { Authorization: `Bearer ${token}` } })).body);
  } catch (problem) {
    if (problem.status === 401) throw over();
    throw problem;
  }
  return accessToken;
}

function post(path, body) {
  return ask("POST", `${AUTH}/${path}`, { headers: { "Content-Type": "application/json" }, body });
}

function keep(tokens) {
  accessToken = tokens.access_token;
  localStorage.setItem(KEPT, tokens.refresh_token);
}

function over() {
  forget();
  return new Problem(401, { detail: "Your session is over. Sign in again." });
}

function forget() {
  accessToken = null;
  localStorage.removeItem(KEPT);
  whenOver();
}
