/* Which tenant a page is about; a list while there are few, a field with suggestions where there are many. */
import { plain } from "../lib/format.js";
import { get } from "../lib/store.js";
import { html, useEffect, useId, useState } from "../lib/ui.js";

const FEW = 300;

export function TenantChoice({ value, onChange, id }) {
  const known = get().tenants;
  const list = useId();
  const [text, setText] = useState(value ?? "");
  useEffect(() => setText(value ?? ""), [value]);
  if (known.length <= FEW) {
    return html`<select class="input" id=${id} aria-label=${id ? undefined : "Tenant"} value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${known.map((each) => html`<option value=${each.id} selected=${each.id === value}>${plain(each.name ?? each.id)}</option>`)}</select>`;
  }
  const wanted = text.toLowerCase();
  const found = known.filter((each) => `${each.id} ${each.name}`.toLowerCase().includes(wanted)).slice(0, 20);
  function type(event) {
    setText(event.target.value);
    if (known.some((each) => each.id === event.target.value)) onChange(event.target.value);
  }
  return html`<input class="input" id=${id} aria-label=${id ? undefined : "Tenant"} list=${list} value=${text} onInput=${type} />
    <datalist id=${list}>${found.map((each) => html`<option value=${each.id}>${plain(each.name)}</option>`)}</datalist>`;
}
