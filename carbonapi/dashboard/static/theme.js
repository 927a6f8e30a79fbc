// Light or dark: as the system has it, until one is chosen.

import { button } from "./dom.js";

const KEPT = "carbonapi-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = localStorage.getItem(KEPT);
  return chosen ? chosen === "dark" : dark.matches;
}

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  for (const toggle of document.querySelectorAll(".theme")) toggle.setAttribute("aria-pressed", isDark());
}

export function themeToggle() {
  const toggle = button("Dark", () => {
    localStorage.setItem(KEPT, isDark() ? "light" : "dark");
    apply();
  }, { class: "theme quiet", "aria-pressed": String(isDark()) });
  return toggle;
}

export function startTheme() {
  dark.addEventListener("change", apply);
  apply();
}
