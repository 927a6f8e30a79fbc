// What is shown, as it stands in the address: so a view can be shared, kept as a bookmark, and gone back to.

let whenChanged = () => {};

// The view, and what it was told, each as text.
export function current() {
  const { view = "emissions", ...told } = Object.fromEntries(new URLSearchParams(location.search));
  return { view, told };
}

export function onChange(listener) {
  whenChanged = listener;
  addEventListener("popstate", () => whenChanged());
}

export function addressOf(view, told = {}) {
  const kept = Object.entries(told).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `${location.pathname}?${new URLSearchParams([["view", view], ...kept])}`;
}

export function go(view, told) {
  history.pushState(null, "", addressOf(view, told));
  whenChanged();
}

// The same view, told something else in these respects.
export function change(changes) {
  const { view, told } = current();
  history.pushState(null, "", addressOf(view, { ...told, ...changes }));
  whenChanged({ isSameView: true });
}

// Follow a link within the page, unless it is to be opened elsewhere.
export function follow(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  history.pushState(null, "", event.currentTarget.href);
  whenChanged();
}
