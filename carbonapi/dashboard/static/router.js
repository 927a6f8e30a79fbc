// The route: the view and its parameters, stored in the URL. So views can be shared and bookmarked, and Back works.

let listener = () => {};

// The view and its parameters, which are strings.
export function currentRoute() {
  const { view = "emissions", ...params } = Object.fromEntries(new URLSearchParams(location.search));
  return { view, params };
}

export function onRouteChange(callback) {
  listener = callback;
  addEventListener("popstate", () => listener({ isBack: true }));
}

export function urlOf(view, params = {}) {
  const set = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `${location.pathname}?${new URLSearchParams([["view", view], ...set])}`;
}

// Show the same view with other parameters.
export function changeParams(changes) {
  const { view, params } = currentRoute();
  history.pushState(null, "", urlOf(view, { ...params, ...changes }));
  return listener({ isSameView: true });
}

// The token of an invitation or a password link, which is in the fragment: browsers do not send it to the server.
export function passwordToken() {
  return new URLSearchParams(location.hash.slice(1)).get("token");
}

export function passwordLink(token) {
  return `${location.origin}${location.pathname}#${new URLSearchParams({ token })}`;
}

export function forgetPasswordToken() {
  history.replaceState(null, "", location.pathname);
}

// Follow a link within the page, unless the user opens it in another tab or window.
export function followLink(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  history.pushState(null, "", event.currentTarget.href);
  listener();
}
