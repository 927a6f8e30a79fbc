// Forms: a label and a place for its fault beside each field, and the API's errors put where they belong.

import { button, h } from "./dom.js";
import { Problem } from "./wire.js";

let number = 0;

// A field with its label. options: [value, text] pairs, of a select. The hint and a fault are told with the field.
export function field({ name, label, hint, options, multiline, value, ...attributes }) {
  const id = `field-${++number}`;
  const told = { id, name, "aria-describedby": `${id}-hint ${id}-fault`, ...attributes };
  const input = options ? h("select", told, options.map(choice)) : h(multiline ? "textarea" : "input", told);
  if (value !== undefined && value !== null) input.value = value;
  return h("div", { class: "field" },
    h("label", { for: id }, label),
    input,
    h("p", { class: "hint", id: `${id}-hint`, hidden: !hint }, hint ?? ""),
    h("p", { class: "fault", id: `${id}-fault`, hidden: true }),
  );
}

export function choice([value, text]) {
  return h("option", { value }, text);
}

// A form that is sent by `send`, which is given what is in the fields, as text by name, without what is blank.
export function form({ submit, send, cancel, attributes = {} }, ...content) {
  const element = h("form", { novalidate: true, ...attributes, onsubmit: submitted },
    ...content,
    h("p", { class: "fault", role: "alert", "data-of": "form", hidden: true }),
    h("div", { class: "actions" },
      h("button", { type: "submit", class: "primary" }, submit),
      cancel && button("Cancel", cancel)),
  );
  async function submitted(event) {
    event.preventDefault();
    await attempt(element, () => send(valuesOf(element)));
  }
  return element;
}

// Do what the form is for: it cannot be sent twice meanwhile, and what is wrong is shown in it.
export async function attempt(element, act) {
  clearFaults(element);
  const submits = [...element.querySelectorAll("button[type=submit]")];
  element.setAttribute("aria-busy", "true");
  for (const submit of submits) submit.disabled = true;
  try {
    await act();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showFaults(element, problem);
  } finally {
    element.removeAttribute("aria-busy");
    for (const submit of submits) submit.disabled = false;
  }
}

export function valuesOf(element) {
  const entries = [...new FormData(element)].filter(([, value]) => typeof value === "string" && value.trim() !== "");
  return Object.fromEntries(entries);
}

export function clearFaults(element) {
  for (const input of element.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const place of element.querySelectorAll(".fault")) place.hidden = true;
}

// Put each message beside its field; what has no field here stands above the buttons.
export function showFaults(element, problem) {
  const rest = [];
  for (const [name, messages] of Object.entries(problem.byField)) {
    const input = element.elements.namedItem(name);
    const place = input instanceof Element && document.getElementById(`${input.id}-fault`);
    if (!place) {
      const whose = name === "_schema" ? "" : name in problem.lines ? `Line ${name}: ` : `${name}: `;
      rest.push(whose + messages.join(" "));
      continue;
    }
    input.setAttribute("aria-invalid", "true");
    place.textContent = messages.join(" ");
    place.hidden = false;
  }
  if (Object.keys(problem.byField).length === 0) rest.push(problem.message);
  const whole = element.querySelector("[data-of=form]");
  whole.textContent = rest.join(" ");
  whole.hidden = rest.length === 0;
  element.querySelector("[aria-invalid]")?.focus();
}
