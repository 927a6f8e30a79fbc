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

export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}
