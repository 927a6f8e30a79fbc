// The upstream lines of a usage type: numbers that its usages get beside their own, such as losses of transmission.

import { getAll, post } from "./api.js";
import * as dialogs from "./dialogs.js";
import { announce, button, h } from "./dom.js";
import { field, form } from "./forms.js";
import { canManage, isAdmin, reference, typeName } from "./reference_data.js";
import { table } from "./table.js";

// onAdded: called after a line has been added.
export async function upstreamLines(type, onAdded) {
  const rows = await getAll(`/usage-types/${type.id}/upstream-lines`);
  return h("div", { class: "upstream" },
    h("div", { class: "title" }, h("h3", {}, "Upstream lines"),
      canManage() && button("Add an upstream line", () => addLine(type, onAdded), { "data-key": "line" })),
    table({ caption: `Upstream lines of ${type.name}`, rows, empty: "No upstream lines.", columns: [
      { title: "Line", cell: line => line.line },
      { title: "Factors of", cell: line => typeName(line.factor_type_id) },
      { title: "Owner", cell: line => (line.organization_id === null ? "shared" : "your organization") },
    ] }));
}

function addLine(type, onAdded) {
  const options = reference.usageTypes
    .filter(known => known.unit === type.unit && known.id !== type.id && !known.archived)
    .map(known => [known.id, typeName(known.id)]);
  dialogs.open(`Add an upstream line for ${type.name}`, close => form({
    submit: "Add", cancel: close,
    send: async ({ line, factor_type_id: id }) => {
      await post(`/usage-types/${type.id}/upstream-lines`, { line, ...(id && { factor_type_id: Number(id) }) });
      close();
      announce("Added.");
      await onAdded();
    },
  },
  h("p", {}, `${isAdmin() ? "All organizations will share it." : "It is for your organization."} Recorded usages get it by a restatement.`),
  field({ name: "line", label: "Name of the line", autocomplete: "off", hint: "For example t_and_d, wtt_generation or wtt_t_and_d." }),
  field({ name: "factor_type_id", label: "Usage type whose factors apply", options, hint: "For the same amount, so in the same unit." })));
}
