// Tables: sorted by their headings, a page at a time.

import { button, h } from "./dom.js";
import { count } from "./decimals.js";

// columns: {title, of, isNumber, sort}; `of` gives the content of a row's cell, `sort` the API's name of the order.
export function table({ caption, columns, rows, sort, onsort, empty = "Nothing here yet." }) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const head = column => {
    if (!column.sort || !onsort) return h("th", { scope: "col", class: column.isNumber && "number" }, column.title);
    const isAscending = sort === column.sort;
    const isSorted = isAscending || sort === `-${column.sort}`;
    const order = isSorted ? (isAscending ? "ascending" : "descending") : false;
    const arrow = isSorted ? (isAscending ? " ↑" : " ↓") : "";
    const sorter = button(column.title, () => onsort(isSorted && !isAscending ? column.sort : `-${column.sort}`), { class: "sorter" });
    sorter.append(h("span", { "aria-hidden": "true" }, arrow));
    return h("th", { scope: "col", "aria-sort": order, class: column.isNumber && "number" }, sorter);
  };
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(head))),
      h("tbody", {}, rows.map(row => h("tr", {}, columns.map(column =>
        h("td", { class: column.isNumber ? "number" : column.isLong && "long" }, column.of(row))))))));
}

// Where a page stands in its list, and the way to the others.
export function pager({ page, total_pages: pages, total, previous_page: before, next_page: after }, onpage) {
  if (total === 0) return h("span");
  return h("nav", { class: "pager", "aria-label": "Pages" },
    button("Previous", () => onpage(before), { disabled: before === null }),
    h("span", {}, `Page ${count(page)} of ${count(pages)}, ${count(total)} in all`),
    button("Next", () => onpage(after), { disabled: after === null }));
}
