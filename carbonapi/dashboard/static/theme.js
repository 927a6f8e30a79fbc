// The light and dark theme. Follows the system until the user chooses one.

import { button } from "./dom.js";

const STORAGE_KEY = "carbonapi-theme";
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = localStorage.getItem(STORAGE_KEY);
  return chosen ? chosen === "dark" : systemDark.matches;
}

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  for (const toggle of document.querySelectorAll(".theme")) toggle.setAttribute("aria-pressed", isDark());
}

export function themeToggle() {
  return button("Dark", () => {
    localStorage.setItem(STORAGE_KEY, isDark() ? "light" : "dark");
    apply();
  }, { class: "theme quiet", "aria-pressed": String(isDark()) });
}

export function startTheme() {
  systemDark.addEventListener("change", apply);
  apply();
}
