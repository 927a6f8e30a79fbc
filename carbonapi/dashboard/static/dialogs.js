// Modal dialogs. The browser's own element contains the focus and returns it on closing.

import { button, h } from "./dom.js";
import { field, form } from "./forms.js";

let number = 0;

// Open a dialog. content: a function that returns the elements; its argument closes the dialog.
export function open(title, content, { wide = false, onclose = () => {} } = {}) {
  const id = `dialog-${++number}`;
  const close = () => dialog.close();
  const dialog = h("dialog", { class: wide ? "wide" : false, "aria-labelledby": id, onclose: () => { dialog.remove(); onclose(); } },
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

export function closeAll() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

// Ask for confirmation. act: called with the reason, if the user enters one. done: called afterwards, when the focus is
// on the button again that opened the dialog.
export function confirm({ title, question, submit, act, done }) {
  open(title, close => form(
    { submit, cancel: close, send: async ({ reason }) => { await act(reason); close(); await done(); } },
    h("p", {}, question),
    field({ name: "reason", label: "Reason (stored with the history)" }),
  ));
}
