// Signing in, and registering an organization with its first manager.

import { button, h, heading } from "./dom.js";
import { field, form } from "./forms.js";
import { register, signIn } from "./session.js";

export function showSignIn(main, { isOver, onSignedIn }) {
  const email = { name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true };
  const other = (text, show) => h("p", { class: "other" }, button(text, show, { class: "link" }));

  function toSignIn() {
    main.replaceChildren(h("section", { class: "alone card" },
      heading("Sign in"),
      isOver && h("p", { class: "note", role: "status" }, "Your session is over. Sign in to go on where you were."),
      form({ submit: "Sign in", send: async told => { await signIn(told.email ?? "", told.password ?? ""); onSignedIn(); } },
        field(email),
        field({ name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true })),
      other("No account yet? Register an organization", () => { toRegister(); main.querySelector("h1").focus(); })));
    document.title = "Sign in · carbonapi";
  }

  function toRegister() {
    main.replaceChildren(h("section", { class: "alone card" },
      heading("Register"),
      h("p", { class: "lead" }, "This makes an organization, and you its manager."),
      form({ submit: "Register", send: async told => { await register(told); onSignedIn(); } },
        field({ name: "organization", label: "Organization", autocomplete: "organization" }),
        field({ name: "name", label: "Your name", autocomplete: "name", required: true }),
        field(email),
        field({
          name: "password", label: "Password", type: "password", autocomplete: "new-password", required: true,
          hint: "12 characters or more, and not a common one.",
        })),
      other("Have an account? Sign in", () => { toSignIn(); main.querySelector("h1").focus(); })));
    document.title = "Register · carbonapi";
  }

  toSignIn();
}
