// The session: its access and refresh token.
//
// The access token is only in memory. The refresh token is in localStorage, so that reloads and new tabs stay logged in
// and all tabs share one token. With sessionStorage each tab would have a copy, and the second use of one would end the
// session, because a refresh token can be used once. A foreign script could read either storage. The page's
// Content-Security-Policy prevents such scripts: it allows only scripts of this origin, and no markup from text. Logging
// out in any tab removes the token and ends the session.

import { API, request, Problem } from "./http.js";

const STORAGE_KEY = "carbonapi-refresh-token";
const AUTH = `${API}/auth`;
let accessToken = null;
let refreshing = null;
let onEnd = () => {};
let askForLogin = () => Promise.reject(sessionEnded());

export function isLoggedIn() {
  return accessToken !== null || localStorage.getItem(STORAGE_KEY) !== null;
}

// Set the callbacks. ended: the user has logged out, in this tab or another. askAgain: the session has ended on the
// server. It returns a promise that is resolved once the user has logged in again, so that requests can continue.
export function onSessionEnd({ ended, askAgain }) {
  onEnd = ended;
  askForLogin = askAgain;
  addEventListener("storage", event => {
    if (event.key === STORAGE_KEY && event.newValue === null) clearTokens();
  });
}

export async function logIn(email, password) {
  storeTokens((await post("login", JSON.stringify({ email, password }))).body);
}

// Set a password with the token of an invitation or a password link.
export async function setPassword(token, password) {
  await post("accept", JSON.stringify({ token, password }));
}

// Register an organization, and log its manager in. Return the manager.
export async function register(account) {
  const { body: manager } = await post("register", JSON.stringify(account));
  await logIn(account.email, account.password);
  return manager;
}

export async function logOut() {
  const endSession = token => request("POST", `${AUTH}/logout`, { headers: { Authorization: `Bearer ${token}` } });
  try {
    const token = await nextToken(null);
    await endSession(token).catch(async problem => {
      if (problem.status === 401) await endSession(await nextToken(token));
    });
  } catch {
    // Without a response, the session ends when its refresh token expires.
  }
  clearTokens();
}

// Return an access token other than the rejected one. If the session has ended, ask the user to log in again.
export async function freshToken(rejected) {
  try {
    return await nextToken(rejected);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    await askForLogin();
    return nextToken(null);
  }
}

// Concurrent calls share one refresh.
function nextToken(rejected) {
  if (accessToken !== null && accessToken !== rejected) return Promise.resolve(accessToken);
  refreshing ??= withLock(refresh).finally(() => { refreshing = null; });
  return refreshing;
}

// Tabs refresh one after another, so that each reads the token that the previous one received. Browsers do not support
// locks on plain HTTP. There two tabs may refresh with the same token, which the API allows for 30 seconds.
function withLock(callback) {
  return navigator.locks ? navigator.locks.request(STORAGE_KEY, callback) : callback();
}

async function refresh() {
  const token = localStorage.getItem(STORAGE_KEY);
  // The refresh token stays in localStorage after the session has ended: removing it means logging out in every tab, which
  // would clear the forms there.
  accessToken = null;
  if (token === null) throw sessionEnded();
  try {
    storeTokens((await request("POST", `${AUTH}/refresh`, { headers: { Authorization: `Bearer ${token}` } })).body);
  } catch (problem) {
    if (problem.status === 401) throw sessionEnded();
    throw problem;
  }
  return accessToken;
}

function post(path, body) {
  return request("POST", `${AUTH}/${path}`, { headers: { "Content-Type": "application/json" }, body });
}

function storeTokens(tokens) {
  accessToken = tokens.access_token;
  localStorage.setItem(STORAGE_KEY, tokens.refresh_token);
}

export function sessionEnded() {
  return new Problem(401, { detail: "Your session has ended. Log in again." });
}

// Clear every tab, without a request.
export function clearTokens() {
  accessToken = null;
  localStorage.removeItem(STORAGE_KEY);
  onEnd();
}
