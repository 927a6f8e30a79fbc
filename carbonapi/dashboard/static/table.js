// Sortable tables and pagination.

import { count } from "./decimals.js";
import { button, h } from "./dom.js";

// columns: {title, cell, isNumber, isLong, isHeader, sort}. `cell` returns the content of a row's cell; `sort` is the API's
// sort key; the cells of a header column name their rows.
export function table({ caption, columns, rows, sort, onsort, empty = "Nothing here yet." }) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const columnHeader = column => {
    if (!column.sort || !onsort) return h("th", { scope: "col", class: column.isNumber && "number" }, column.title);
    const isAscending = sort === column.sort;
    const isSorted = isAscending || sort === `-${column.sort}`;
    const order = isSorted ? (isAscending ? "ascending" : "descending") : false;
    const arrow = isSorted ? (isAscending ? " ↑" : " ↓") : "";
    const sorter = button(column.title, () => onsort(isSorted && !isAscending ? column.sort : `-${column.sort}`), { class: "sorter", "data-key": `sort ${column.sort}` });
    sorter.append(h("span", { "aria-hidden": "true" }, arrow));
    return h("th", { scope: "col", "aria-sort": order, class: column.isNumber && "number" }, sorter);
  };
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map(columnHeader))),
      h("tbody", {}, rows.map(row => h("tr", {}, columns.map(column =>
        h(column.isHeader ? "th" : "td", { scope: column.isHeader && "row", class: column.isNumber ? "number" : column.isLong && "long" }, column.cell(row))))))));
}

// The position of a page in its list, with buttons for the next and previous one. They scroll to the start of the page.
// label: distinguishes several lists of a view.
export function pager({ page, total_pages: pages, total, previous_page: previous, next_page: next }, onpage, label = "Pages") {
  if (total === 0) return h("span");
  const turn = to => event => {
    const { parentElement: results } = event.target.closest(".pager");
    if (results.getBoundingClientRect().top < 0) results.scrollIntoView();
    return onpage(to);
  };
  return h("nav", { class: "pager", "aria-label": label },
    button("Previous", turn(previous), { disabled: previous === null, "data-key": "previous" }),
    h("span", {}, `Page ${count(page)} of ${count(pages)}, ${count(total)} in total`),
    button("Next", turn(next), { disabled: next === null, "data-key": "next" }));
}
