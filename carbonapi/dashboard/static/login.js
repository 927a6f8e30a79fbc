// The login, the registration of an organization with its first manager, and new passwords.

import { get, patch, post } from "./api.js";
import * as dialogs from "./dialogs.js";
import { button, focusHeading, h, heading } from "./dom.js";
import { field, form } from "./forms.js";
import { forgetPasswordToken } from "./router.js";
import { isLoggedIn, logIn, logOut, register, sessionEnded, setPassword } from "./session.js";

export const NEW_PASSWORD_HINT = "At least 12 characters, and not a common password.";
const EMAIL = { name: "email", label: "E-mail address", type: "email", autocomplete: "username", required: true };
const PASSWORD = { name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true };
const NEW_PASSWORD = { ...PASSWORD, autocomplete: "new-password", hint: NEW_PASSWORD_HINT };

// note: a message above the form.
export function showLogin(main, { note, onLoggedIn }) {
  const alternative = (text, showOther) => h("p", {}, button(text, () => { showOther(); focusHeading(main); }, { class: "link" }));

  function showForm() {
    show(main, "Log in",
      note && h("p", { class: "note", role: "status" }, note),
      form({ submit: "Log in", send: async fields => { await logIn(fields.email ?? "", fields.password ?? ""); onLoggedIn(); } },
        field(EMAIL),
        field(PASSWORD)),
      alternative("Forgot your password?", showHelp),
      alternative("No account yet? Register an organization", showRegistration));
  }

  function showRegistration() {
    let manager = null;
    const send = async ({ region, site, ...account }) => {
      // If the country or the site is rejected, the account exists already, and the form is sent again without it.
      manager ??= await register(account);
      for (const name of ["organization", "name", "email", "password"]) element.elements[name].readOnly = true;
      if (region) await setRegion(manager.organization_id, region);
      if (site) await post("/sites", { name: site });
      onLoggedIn();
    };
    const element = form({ submit: "Register", send },
      field({ name: "organization", label: "Organization", autocomplete: "organization" }),
      field({ name: "region", label: "Country (optional)", autocomplete: "country", hint: "For example GB or US-CA. Its emission factors apply to your usages." }),
      field({ name: "site", label: "Name of your first site (optional)", autocomplete: "off", maxlength: 200, hint: "A place where you use something, such as a building." }),
      field({ name: "name", label: "Your name", autocomplete: "name", required: true }),
      field(EMAIL),
      field(NEW_PASSWORD));
    show(main, "Register",
      h("p", { class: "lead" }, "You register an organization and become its manager."),
      element,
      alternative("Have an account? Log in", showForm));
  }

  function showHelp() {
    show(main, "Forgot your password?",
      h("p", {}, "Ask a manager of your organization for a password link. They create it under Users, with the button “Password link” beside your name. The link lets you set a new password."),
      h("p", {}, "If you are the only manager, ask the people who run this service."),
      alternative("Back to the login", showForm));
  }

  showForm();
}

async function setRegion(organizationId, region) {
  const path = `/organizations/${organizationId}`;
  const { etag } = await get(path);
  await patch(path, { region }, etag);
}

// The page that an invitation or a password link opens. onDone: called once the password is set.
export function showNewPassword(main, { token, onDone }) {
  show(main, "Set your password",
    form({
      submit: "Set password",
      send: async ({ password = "" }) => {
        await setPassword(token, password);
        // Another user may be logged in here.
        if (isLoggedIn()) await logOut();
        forgetPasswordToken();
        onDone();
      },
    }, field({ ...NEW_PASSWORD, label: "New password" })));
}

// Ask for the password in a dialog over the page, so that its forms keep their input. Resolve after the login.
export function logInAgain({ email, useOtherAccount }) {
  return new Promise((resolve, reject) => {
    dialogs.open("Log in again", close => h("div", { class: "stack" },
      h("p", {}, "Your session has ended. Your input is still here. It will be sent after you log in."),
      form({ submit: "Log in", cancel: close, send: async ({ password = "" }) => { await logIn(email, password); resolve(); close(); } },
        field({ ...EMAIL, value: email, readonly: true }),
        field(PASSWORD)),
      h("p", {}, button("Use another account. Your input will be lost.", useOtherAccount, { class: "link" }))),
    { onclose: () => reject(sessionEnded()) }).querySelector("[name=password]").focus();
  });
}

function show(main, title, ...content) {
  main.replaceChildren(h("section", { class: "narrow card" }, heading(title), ...content.filter(Boolean)));
  document.title = `${title} · carbonapi`;
}
