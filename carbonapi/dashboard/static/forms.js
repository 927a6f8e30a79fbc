// Forms: labeled fields, and the API's error messages beside them.

import { button, h } from "./dom.js";
import { Problem } from "./http.js";

let number = 0;

// A field with its label. options: [value, text] pairs of a select. Its description is the hint and the error.
export function field({ name, label, hint, options, multiline, value, ...attributes }) {
  const id = `field-${++number}`;
  const all = { id, name, "aria-describedby": `${id}-hint ${id}-error`, ...attributes };
  const input = options ? h("select", all, options.map(option)) : h(multiline ? "textarea" : "input", all);
  if (value !== undefined && value !== null) input.value = value;
  return h("div", { class: "field" },
    h("label", { for: id }, label),
    input,
    h("p", { class: "hint", id: `${id}-hint`, hidden: !hint }, hint ?? ""),
    h("p", { class: "error", id: `${id}-error`, hidden: true }),
  );
}

export function option([value, text]) {
  return h("option", { value }, text);
}

// The place for errors that belong to no field.
export function formError() {
  return h("p", { class: "error form-error", role: "alert", hidden: true });
}

// A form. send: called with the values as strings by name, without blank ones.
export function form({ submit, send, cancel, attributes = {} }, ...content) {
  const element = h("form", { novalidate: true, ...attributes, onsubmit: submitted },
    ...content,
    formError(),
    h("div", { class: "actions" },
      h("button", { type: "submit", class: "primary" }, submit),
      cancel && button("Cancel", cancel)),
  );
  async function submitted(event) {
    event.preventDefault();
    await submitForm(element, () => send(valuesOf(element)));
  }
  return element;
}

// Run the action of a form. It cannot be submitted again in the meantime, and errors are shown in it.
export async function submitForm(element, act) {
  if (element.hasAttribute("aria-busy")) return;
  clearErrors(element);
  const submits = [...element.querySelectorAll("button[type=submit]")];
  element.setAttribute("aria-busy", "true");
  for (const submit of submits) submit.setAttribute("aria-disabled", "true");
  try {
    await act();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showErrors(element, problem);
  } finally {
    element.removeAttribute("aria-busy");
    for (const submit of submits) submit.removeAttribute("aria-disabled");
  }
}

export function valuesOf(element) {
  const entries = [...new FormData(element)].filter(([, value]) => typeof value === "string" && value.trim() !== "");
  return Object.fromEntries(entries);
}

export function clearErrors(element) {
  for (const input of element.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const message of element.querySelectorAll(".error")) message.hidden = true;
}

// Show each message beside its field, and messages without a field above the buttons. Focus the first field with one.
export function showErrors(element, problem, { focus = true } = {}) {
  const remaining = [];
  for (const [name, messages] of Object.entries(problem.byField)) {
    const input = element.elements.namedItem(name);
    const message = input instanceof Element && document.getElementById(`${input.id}-error`);
    if (!message) {
      const prefix = name === "_schema" ? "" : name in problem.lines ? `Line ${name}: ` : `${name}: `;
      remaining.push(prefix + messages.join(" "));
      continue;
    }
    input.setAttribute("aria-invalid", "true");
    message.textContent = messages.join(" ");
    message.hidden = false;
  }
  if (Object.keys(problem.byField).length === 0) remaining.push(problem.message);
  const summary = element.querySelector(".form-error");
  summary.textContent = remaining.join(" ");
  summary.hidden = remaining.length === 0;
  if (focus) element.querySelector("[aria-invalid]")?.focus();
}
