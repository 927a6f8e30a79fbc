// The login, and the registration of an organization with its first manager.

import { button, h, heading } from "./dom.js";
import { field, form } from "./forms.js";
import { logIn, register } from "./session.js";

export function showLogin(main, { hasEnded, onLoggedIn }) {
  const email = { name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true };
  const alternative = (text, show) => h("p", {}, button(text, show, { class: "link" }));

  function showForm() {
    main.replaceChildren(h("section", { class: "narrow card" },
      heading("Log in"),
      hasEnded && h("p", { class: "note", role: "status" }, "Your session has ended. Log in to continue."),
      form({ submit: "Log in", send: async fields => { await logIn(fields.email ?? "", fields.password ?? ""); onLoggedIn(); } },
        field(email),
        field({ name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true })),
      alternative("No account yet? Register an organization", () => { showRegistration(); main.querySelector("h1").focus(); })));
    document.title = "Log in · carbonapi";
  }

  function showRegistration() {
    main.replaceChildren(h("section", { class: "narrow card" },
      heading("Register"),
      h("p", { class: "lead" }, "You register an organization and become its manager."),
      form({ submit: "Register", send: async fields => { await register(fields); onLoggedIn(); } },
        field({ name: "organization", label: "Organization", autocomplete: "organization" }),
        field({ name: "name", label: "Your name", autocomplete: "name", required: true }),
        field(email),
        field({
          name: "password", label: "Password", type: "password", autocomplete: "new-password", required: true,
          hint: "At least 12 characters, and not a common password.",
        })),
      alternative("Have an account? Log in", () => { showForm(); main.querySelector("h1").focus(); })));
    document.title = "Register · carbonapi";
  }

  showForm();
}
