// Elements, made one by one and never from markup: what somebody typed can only ever become text.

const SVG = "http://www.w3.org/2000/svg";

// An HTML element. Attributes that are false, null or undefined are left out; a function named on… listens.
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same of SVG.
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value ?? "";
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

// Tell something to who does not look at the place where it happened.
export function say(text) {
  document.getElementById("said").textContent = text;
}

// Let the heading of what is shown now have the focus, so that the keyboard and a screen reader begin there.
export function focusHeading(place) {
  place.querySelector("h1")?.focus();
}

export function heading(text) {
  return h("h1", { tabindex: "-1" }, text);
}

export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}
