/* Which backups would stay and which would go, and why. */
import { date, many, number, plain, time } from "../../lib/format.js";
import { to } from "../../lib/router.js";
import { html, useState } from "../../lib/ui.js";

export function Plan({ plan, tenant }) {
  const [open, setOpen] = useState(false);
  const line = (each, goes) => html`<li><a href=${to("/runs", { tenant, run: each.id })}>${date(each.completed_at)}, ${time(each.completed_at)}</a> <span class=${goes ? "bad" : "soft"}>${goes ? "deleted: " : ""}${plain(each.reason)}</span></li>`;
  return html`<div class="wide"><p class="soft">With these settings ${many(plan.kept.length, "backup")} would be kept now, ${number(plan.deleted.length)} deleted.
    <button type="button" class="link" aria-expanded=${open ? "true" : "false"} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Why each"}</button></p>
    ${open && html`<ul class="results plan">${plan.deleted.map((each) => line(each, true))}${plan.kept.map((each) => line(each, false))}</ul>`}</div>`;
}
