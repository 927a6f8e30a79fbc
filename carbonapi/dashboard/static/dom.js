// Elements, created one by one and never from markup, so that user input can only become text.

const SVG = "http://www.w3.org/2000/svg";

// Create an HTML element. Attributes that are false, null or undefined are omitted; functions named on… are listeners.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// Create an SVG element.
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value ?? "";
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

// Announce a change to screen readers.
export function announce(text) {
  document.getElementById("announcement").textContent = text;
}

// Focus the heading of new content, so that the keyboard and screen readers start there.
export function focusHeading(container) {
  container.querySelector("h1")?.focus();
}

export function heading(text) {
  return h("h1", { tabindex: "-1" }, text);
}

// A button. If its action is asynchronous, the button is disabled until the action ends.
export function button(text, act, attributes = {}) {
  return h("button", { type: "button", onclick: event => runOnce(event.currentTarget, () => act(event)), ...attributes }, text);
}

// Run an action, unless the element is disabled by a running one. `aria-disabled` keeps the focus, unlike `disabled`.
export function runOnce(element, act) {
  if (element.getAttribute("aria-disabled") === "true") return undefined;
  const outcome = act();
  if (!(outcome instanceof Promise)) return outcome;
  element.setAttribute("aria-disabled", "true");
  return outcome.finally(() => element.removeAttribute("aria-disabled"));
}

// Digits that never wrap within a number.
export function digits(text) {
  return h("span", { class: "digits" }, text);
}

// Replace the content of a container. The focus moves to the control with the same data-key, or in its place in a row.
export function replaceContent(container, ...children) {
  const focused = document.activeElement;
  const hadFocus = container !== focused && container.contains(focused);
  const { key } = hadFocus ? focused.dataset : {};
  const action = key?.split(" ")[0];
  const index = hadFocus ? rowsOf(container).indexOf(focused.closest("tr")) : -1;
  container.replaceChildren(...children.filter(Boolean));
  if (!hadFocus) return;
  const controls = [...container.querySelectorAll("[data-key]:not(:disabled)")];
  const rows = rowsOf(container);
  const row = index < 0 ? undefined : rows[Math.min(index, rows.length - 1)];
  const next = controls.find(control => control.dataset.key === key)
    ?? controls.find(control => row?.contains(control) && control.dataset.key.split(" ")[0] === action)
    ?? container;
  if (next === container) container.tabIndex = -1;
  next.focus({ preventScroll: true });
}

function rowsOf(container) {
  return [...container.querySelectorAll("tbody tr")];
}
