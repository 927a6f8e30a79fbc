// The page: its header, and the view that the route names.

import * as catalogue from "./catalogue.js";
import { button, focusHeading, h, heading } from "./dom.js";
import * as emissions from "./emissions.js";
import { Problem } from "./http.js";
import * as imports from "./imports.js";
import { showLogin } from "./login.js";
import { canManage, loadReferenceData, reference } from "./reference_data.js";
import * as restatements from "./restatements.js";
import { currentRoute, followLink, onRouteChange, urlOf } from "./router.js";
import { isLoggedIn, logOut, onSessionEnd } from "./session.js";
import { startTheme, themeToggle } from "./theme.js";
import * as usages from "./usages.js";
import * as users from "./users.js";

const always = () => true;
const VIEWS = {
  emissions: { title: "Emissions", show: emissions.show, isAllowed: always },
  usages: { title: "Usages", show: usages.show, isAllowed: always },
  imports: { title: "Imports", show: imports.show, isAllowed: always },
  catalogue: { title: "Catalogue", show: catalogue.show, isAllowed: always },
  restatements: { title: "Restatements", show: restatements.show, isAllowed: canManage },
  users: { title: "Users", show: users.show, isAllowed: canManage },
};
const main = document.getElementById("main");
const header = document.getElementById("header");
let isLoggingOut = false;

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
    button("Log out", () => { isLoggingOut = true; logOut(); }, { class: "quiet" })));
}

// isSameView: only the parameters changed, so the focus stays where it is.
async function show({ isSameView = false, isFirst = false } = {}) {
  if (!isLoggedIn()) return showLoginPage();
  try {
    if (reference.me === null) await loadReferenceData();
    const { view, params } = currentRoute();
    const allowed = VIEWS[view]?.isAllowed() ? view : "emissions";
    showHeader(allowed);
    document.title = `${VIEWS[allowed].title} · carbonapi`;
    if (!isSameView) main.replaceChildren(heading(VIEWS[allowed].title));
    if (!isSameView && !isFirst) focusHeading(main);
    await VIEWS[allowed].show(main, allowed === view ? params : {}, isSameView);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) return;
    showFailure(problem);
  }
}

function showFailure(problem) {
  main.querySelector(".failure")?.remove();
  main.append(h("div", { class: "failure card", role: "alert" },
    h("p", {}, problem.message),
    problem.requestId && h("p", { class: "hint" }, `Request ${problem.requestId}`),
    button("Try again", () => { main.querySelector(".failure").remove(); show(); })));
}

function showLoginPage({ hasEnded = false } = {}) {
  showHeader(null);
  showLogin(main, { hasEnded, onLoggedIn: () => show() });
}

// Errors of actions without a form, such as the buttons of a table.
addEventListener("unhandledrejection", event => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  if (event.reason.status !== 401) showFailure(event.reason);
});
startTheme();
onRouteChange(show);
onSessionEnd(() => {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  reference.me = null;
  showLoginPage({ hasEnded: !isLoggingOut });
  isLoggingOut = false;
  focusHeading(main);
});
show({ isFirst: true });
