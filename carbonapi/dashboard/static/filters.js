// The filters of a view, which are stored in the route.

import { formError, valuesOf } from "./forms.js";
import { h } from "./dom.js";

// A form of filters. onchange: called with the name and the value of a changed filter.
//
// A browser reports a date as changed after each digit of its year. So a typed date takes effect on Enter or when the
// user leaves the field; one that is picked from the calendar takes effect at once.
export function filterForm(onchange, ...fields) {
  return h("form", {
    class: "controls card", "aria-label": "Filters",
    onsubmit: event => event.preventDefault(),
    onkeydown: ({ target, key }) => {
      if (target.type !== "date") return;
      if (key === "Enter") apply(target);
      else if (key !== "Tab" && key !== "Shift") target.dataset.typing = "";
    },
    onfocusout: ({ target }) => { if ("typing" in target.dataset) apply(target); },
    onchange: ({ target }) => { if (!("typing" in target.dataset)) apply(target); },
  }, ...fields, formError());

  function apply(input) {
    delete input.dataset.typing;
    const isUnchanged = input.value === (input.dataset.applied ?? "");
    if (isUnchanged || input.validity.badInput) return;
    input.dataset.applied = input.value;
    onchange(input.name, input.value);
  }
}

// Show the values of the route, but not in a field that the user is typing in.
export function showFilters(form, values) {
  for (const input of form.elements) {
    const value = values[input.name] ?? "";
    input.dataset.applied = value;
    if (!("typing" in input.dataset) && input.value !== value) input.value = value;
  }
}

// Whether a filter has a value that selects fewer usages. defaults: the values that select all.
export function isFiltered(form, defaults = {}) {
  return Object.entries(valuesOf(form)).some(([name, value]) => value !== (defaults[name] ?? ""));
}
