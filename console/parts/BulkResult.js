/* How an operation on many records went, with its undo. */
import { change } from "../lib/api.js";
import { number } from "../lib/format.js";
import { base } from "../lib/tenants.js";
import { html, useState } from "../lib/ui.js";
import { act, Button } from "./basics.js";

export const undo = (tenant, operation) => act("Undone: the records are as they were.", (key) => change("POST", `${base(tenant)}/bulk/undo`, { operationId: operation }, { key }));

export function BulkResult({ tenant, result, reload, onClose }) {
  const [open, setOpen] = useState(false);
  const { failed, done, what, operation } = result;
  async function back() {
    if (await undo(tenant, operation)) { reload(); onClose(); }
  }
  return html`<div class="notice ${failed.length ? "warn-ground" : ""}" role="status"><p><b>${number(done)} ${what}${failed.length ? `, ${number(failed.length)} not` : ""}.</b></p>
    ${failed.length > 0 && html`<${Button} small onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"} the ${number(failed.length)}<//>`}
    ${done > 0 && operation && html`<${Button} small onClick=${back}>Undo${failed.length ? " all" : ""}<//>`}<span class="push"></span><${Button} small kind="quiet" onClick=${onClose}>Dismiss<//>
    ${open && html`<ul class="results whole-line">${failed.slice(0, 200).map((each) => html`<li><bdi>${each.name}</bdi>: ${each.error ?? each.code}</li>`)}</ul>`}</div>`;
}
