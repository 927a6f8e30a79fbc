// Dialogs: the browser's own, which keep the focus within and give it back when they close.

import { button, h } from "./dom.js";
import { field, form } from "./forms.js";

let number = 0;

// Open a dialog. content: elements, or a function that is given what closes it.
export function open(title, content, { wide = false } = {}) {
  const id = `dialog-${++number}`;
  const close = () => dialog.close();
  const dialog = h("dialog", { class: wide ? "wide" : false, "aria-labelledby": id, onclose: () => dialog.remove() },
    h("header", {},
      h("h2", { id }, title),
      button("×", close, { class: "close", "aria-label": "Close" })),
    content(close),
  );
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("form input:not([type=hidden]), form select")?.focus();
  return dialog;
}

// Ask before something is taken away; `act` is given the reason, if one is told.
export function confirm({ title, question, submit, act }) {
  open(title, close => form(
    { submit, cancel: close, send: async ({ reason }) => { await act(reason); close(); } },
    h("p", {}, question),
    field({ name: "reason", label: "Reason (kept with what was believed before)" }),
  ));
}
