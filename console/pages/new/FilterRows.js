/* Filters of an entity: a field and its value; values that are declared are offered. */
import { html } from "../../lib/ui.js";
import { Icon } from "../../parts/Icon.js";

const HINTS = { search: "Text that the record contains", ids: "Ids, separated by commas", createdAfter: "2026-11-01", createdBefore: "2026-11-28" };

export function FilterRows({ entity, filters, setFilters, wrong = {} }) {
  const names = entity?.filters ?? ["search", "createdAfter", "createdBefore"];
  const free = names.filter((name) => !filters.some((each) => each.field === name));
  const set = (n, changes) => setFilters(filters.map((each, at) => (at === n ? { ...each, ...changes } : each)));
  const values = (field) => entity?.fields.find((each) => each.name === field)?.values ?? [];
  return html`<fieldset class="field-row wide"><legend class="label">Filters</legend>${filters.map((each, n) => html`<div class="filter-row" key=${n}>
    <select class="input" aria-label="Field" value=${each.field} onChange=${(event) => set(n, { field: event.target.value, value: "" })}>${[each.field, ...free].map((name) => html`<option selected=${name === each.field}>${name}</option>`)}</select>
    ${values(each.field).length ? html`<select class="input" aria-label=${each.field} value=${each.value} onChange=${(event) => set(n, { value: event.target.value })}><option value="">any</option>${values(each.field).map((value) => html`<option selected=${value === each.value}>${value}</option>`)}</select>`
      : html`<input class="input" aria-label=${each.field} placeholder=${HINTS[each.field] ?? "Value; commas mean any of them"} value=${each.value} onInput=${(event) => set(n, { value: event.target.value })} />`}
    <button type="button" class="btn quiet" aria-label=${`Remove the filter ${each.field}`} onClick=${() => setFilters(filters.filter((_, at) => at !== n))}><${Icon} name="close" /></button>
    ${wrong[`filters.${each.field}`] && html`<p class="meta bad">${wrong[`filters.${each.field}`]}</p>`}</div>`)}
    ${free.length > 0 && html`<div><button type="button" class="btn small" onClick=${() => setFilters([...filters, { field: free[0], value: "" }])}><${Icon} name="plus" size=${12} />Add a filter</button></div>`}</fieldset>`;
}
