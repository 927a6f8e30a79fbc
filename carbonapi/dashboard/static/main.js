// The page: its frame, and which view stands in it.

import * as catalogue from "./catalogue.js";
import { button, focusHeading, h, heading } from "./dom.js";
import { directory, mayManage, read } from "./directory.js";
import * as emissions from "./emissions.js";
import * as imports from "./imports.js";
import * as restatements from "./restatements.js";
import { isSignedIn, onOver, signOut } from "./session.js";
import { showSignIn } from "./sign_in.js";
import { addressOf, current, follow, onChange } from "./state.js";
import { startTheme, themeToggle } from "./theme.js";
import * as usages from "./usages.js";
import * as users from "./users.js";
import { Problem } from "./wire.js";

const ALL = () => true;
const VIEWS = {
  emissions: { title: "Emissions", show: emissions.show, mayEnter: ALL },
  usages: { title: "Usages", show: usages.show, mayEnter: ALL },
  imports: { title: "Imports", show: imports.show, mayEnter: ALL },
  catalogue: { title: "Catalogue", show: catalogue.show, mayEnter: ALL },
  restatements: { title: "Restatements", show: restatements.show, mayEnter: mayManage },
  users: { title: "Users", show: users.show, mayEnter: mayManage },
};
const main = document.getElementById("main");
const top = document.getElementById("top");
let isLeaving = false;

function showTop(view) {
  const brand = h("a", { class: "brand", href: addressOf("emissions"), onclick: follow }, "carbonapi");
  if (view === null) {
    top.replaceChildren(brand, h("div", { class: "who" }, themeToggle()));
    return;
  }
  const tabs = Object.entries(VIEWS).filter(([, { mayEnter }]) => mayEnter()).map(([name, { title }]) =>
    h("a", { href: addressOf(name), onclick: follow, "aria-current": name === view && "page" }, title));
  top.replaceChildren(brand, h("nav", { class: "tabs", "aria-label": "Views" }, tabs), h("div", { class: "who" },
    h("span", { class: "name", title: directory.me.email }, `${directory.me.name}, ${directory.organization.name}`),
    themeToggle(),
    button("Sign out", () => { isLeaving = true; signOut(); }, { class: "quiet" })));
}

// `isSameView`: something in it was chosen, and the focus is to stay there.
async function show({ isSameView = false, isFirst = false } = {}) {
  if (!isSignedIn()) return showDoor();
  try {
    if (directory.me === null) await read();
    const { view, told } = current();
    const known = VIEWS[view]?.mayEnter() ? view : "emissions";
    showTop(known);
    document.title = `${VIEWS[known].title} · carbonapi`;
    if (!isSameView) main.replaceChildren(heading(VIEWS[known].title));
    if (!isSameView && !isFirst) focusHeading(main);
    await VIEWS[known].show(main, known === view ? told : {}, isSameView);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) return;
    showTrouble(problem);
  }
}

function showTrouble(problem) {
  main.querySelector(".trouble")?.remove();
  main.append(h("div", { class: "trouble card", role: "alert" },
    h("p", {}, problem.message),
    problem.requestId && h("p", { class: "hint" }, `Request ${problem.requestId}`),
    button("Try again", () => { main.querySelector(".trouble").remove(); show(); })));
}

function showDoor({ isOver = false } = {}) {
  showTop(null);
  showSignIn(main, { isOver, onSignedIn: () => show() });
}

// What goes wrong where nobody waits for it, as behind a button of a table.
addEventListener("unhandledrejection", event => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  if (event.reason.status !== 401) showTrouble(event.reason);
});
startTheme();
onChange(show);
onOver(() => {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  directory.me = null;
  showDoor({ isOver: !isLeaving });
  isLeaving = false;
  focusHeading(main);
});
show({ isFirst: true });
