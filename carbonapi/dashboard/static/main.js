// The page: its header, and the view that the route names.

import * as catalogue from "./catalogue.js";
import * as coverage from "./coverage.js";
import * as dialogs from "./dialogs.js";
import { button, focusHeading, h, heading } from "./dom.js";
import * as emissions from "./emissions.js";
import { Problem } from "./http.js";
import * as imports from "./imports.js";
import { logInAgain, showLogin, showNewPassword } from "./login.js";
import { canManage, loadReferenceData, reference } from "./reference_data.js";
import * as restatements from "./restatements.js";
import { currentRoute, followLink, onRouteChange, passwordToken, urlOf } from "./router.js";
import { clearTokens, isLoggedIn, logOut, onSessionEnd, sessionEnded } from "./session.js";
import * as settings from "./settings.js";
import { startTheme, themeToggle } from "./theme.js";
import * as usages from "./usages.js";
import * as users from "./users.js";

const SESSION_ENDED = "Your session has ended. Log in to continue.";
const always = () => true;
const VIEWS = {
  emissions: { title: "Emissions", show: emissions.show, isAllowed: always },
  coverage: { title: "Coverage", show: coverage.show, isAllowed: always },
  usages: { title: "Usages", show: usages.show, isAllowed: always },
  imports: { title: "Imports", show: imports.show, isAllowed: always },
  catalogue: { title: "Catalogue", show: catalogue.show, isAllowed: always },
  restatements: { title: "Restatements", show: restatements.show, isAllowed: canManage },
  users: { title: "Users", show: users.show, isAllowed: canManage },
  settings: { title: "Settings", show: settings.show, isAllowed: always },
};
const main = document.getElementById("main");
const header = document.getElementById("header");
// The element of the shown view. Each view has its own, so that late responses never appear in another view.
let container = null;
let isLoggingOut = false;
let loginAgain = null;

function showHeader(view) {
  const brand = h("a", { class: "brand", href: urlOf("emissions"), onclick: followLink }, "carbonapi");
  if (view === null) {
    header.replaceChildren(brand, h("div", { class: "account" }, themeToggle()));
    return;
  }
  const tabs = Object.entries(VIEWS).filter(([, { isAllowed }]) => isAllowed()).map(([name, { title }]) =>
    h("a", { href: urlOf(name), onclick: followLink, "aria-current": name === view && "page" }, title));
  header.replaceChildren(brand, h("nav", { class: "tabs", "aria-label": "Views" }, tabs), h("div", { class: "account" },
    h("span", { class: "name", title: reference.me.email }, `${reference.me.name}, ${reference.organization.name}`),
    themeToggle(),
    button("Log out", () => { isLoggingOut = true; return logOut(); }, { class: "quiet" })));
}

// isSameView: only the parameters changed, so the focus stays where it is. isBack: the user moved through the history.
async function show({ isSameView = false, isBack = false, isFirst = false } = {}) {
  if (isBack) dialogs.closeAll();
  if (passwordToken()) return showPasswordPage(passwordToken());
  if (!isLoggedIn()) return showLoginPage();
  let own = null;
  try {
    if (reference.me === null) await loadReferenceData();
    const { view, params } = currentRoute();
    const allowed = VIEWS[view]?.isAllowed() ? view : "emissions";
    const isKept = container?.isConnected && container.dataset.view === allowed && (isSameView || isBack);
    if (!isKept) container = h("div", { class: "view", "data-view": allowed });
    own = container;
    document.title = `${VIEWS[allowed].title} · carbonapi`;
    if (!isKept) {
      showHeader(allowed);
      main.replaceChildren(heading(VIEWS[allowed].title), own);
      if (!isFirst) focusHeading(main);
    }
    main.querySelector(".failure")?.remove();
    await VIEWS[allowed].show(own, allowed === view ? params : {}, isKept);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (own?.isConnected !== false) showFailure(problem);
  }
}

function showFailure(problem) {
  if (problem.status === 401 && reference.me === null) return; // The login page is shown instead.
  main.querySelector(".failure")?.remove();
  main.append(h("div", { class: "failure card", role: "alert" },
    h("p", {}, problem.message),
    problem.requestId && h("p", { class: "hint" }, `Request ${problem.requestId}`),
    button("Try again", () => { main.querySelector(".failure").remove(); show(); })));
}

function showLoginPage(note) {
  showHeader(null);
  showLogin(main, { note, onLoggedIn: () => show() });
}

function showPasswordPage(token) {
  showHeader(null);
  showNewPassword(main, { token, onDone: () => {
    showLoginPage("Your password is set. Log in with it.");
    focusHeading(main);
  } });
}

function leave({ hasEnded }) {
  dialogs.closeAll();
  reference.me = null;
  if (passwordToken()) return;
  showLoginPage(hasEnded && SESSION_ENDED);
  focusHeading(main);
}

// Errors of actions without a form, such as the buttons of a table.
addEventListener("unhandledrejection", event => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  showFailure(event.reason);
});
main.addEventListener("organizationchange", () => showHeader(container.dataset.view));
startTheme();
onRouteChange(show);
onSessionEnd({
  ended: () => {
    leave({ hasEnded: !isLoggingOut });
    isLoggingOut = false;
  },
  askAgain: () => {
    if (reference.me === null) {
      leave({ hasEnded: true });
      return Promise.reject(sessionEnded());
    }
    // Concurrent requests wait for one login.
    const useOtherAccount = () => { isLoggingOut = true; clearTokens(); };
    loginAgain ??= logInAgain({ email: reference.me.email, useOtherAccount })
      .finally(() => { loginAgain = null; });
    return loginAgain;
  },
});
show({ isFirst: true });
