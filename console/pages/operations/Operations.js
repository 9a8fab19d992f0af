/* Operations on many records, each with its undo. */
import { read } from "../../lib/api.js";
import { number, plain } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { may } from "../../lib/store.js";
import { base, choose, tenantOf } from "../../lib/tenants.js";
import { html, useState } from "../../lib/ui.js";
import { asOf, Button, Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { undo } from "../../parts/BulkResult.js";
import { Confirm } from "../../parts/Dialog.js";
import { Pages } from "../../parts/Pages.js";
import { TenantChoice } from "../../parts/TenantChoice.js";

const words = (kind) => { const text = plain(kind).replaceAll("_", " ").replaceAll(".", " "); return text[0].toUpperCase() + text.slice(1); };

export function Operations({ query }) {
  const tenant = tenantOf(query);
  const asked = { page: query.page ?? 1, limit: 50 };
  const live = useLive((signal) => read(`${base(tenant)}/bulk/operations`, asked, { signal }), [tenant, asked.page], { every: 0 });
  const [asking, setAsking] = useState(null);
  const found = live.data?.operations ?? [];
  async function run() {
    const done = await undo(tenant, asking.id);
    live.reload();
    return done ?? true;
  }
  return html`<div class="stack wide-page"><div class="head"><h1>Operations</h1><span class="dim">${live.data ? number(live.data.pagination.total) : ""}</span><span class="push"></span><span class="dim meta">${asOf(live.at)}</span><${Button} small onClick=${live.reload}>Refresh<//></div>
    <div class="filters"><${TenantChoice} value=${tenant} onChange=${(id) => choose(id, { page: null })} /></div>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="operations" /></div>`}
    ${live.data && !found.length && html`<div class="card"><${Empty} title="No operation yet">Bulk deletes, changes and imports appear here, each with its undo.<//></div>`}
    ${found.length > 0 && html`<div class="card over"><table class="table operations"><thead><tr><th scope="col">What</th><th scope="col" class="t-count">Done</th><th scope="col" class="t-by">When</th><th class="t-do"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${found.map((each) => html`<tr key=${each.id}><td><b>${words(each.kind)}</b> <span class="dim">${each.dataType}</span></td><td class="t-count">${number(each.succeeded)}${each.failed ? html` <span class="warn">${number(each.failed)} not</span>` : ""}</td>
        <td class="soft t-by"><${Time} at=${each.createdAt} /> by <${Name} of=${each.by ?? "somebody"} /></td>
        <td class="t-do">${each.undoneAt ? html`<span class="dim">undone <${Time} at=${each.undoneAt} /></span>` : may("operator") && !/undo|restore/.test(each.kind) && each.succeeded > 0 && html`<${Button} small onClick=${() => setAsking(each)}>Undo<//>`}</td></tr>`)}</tbody></table></div>`}
    ${live.data && html`<${Pages} of=${live.data.pagination} />`}
    ${asking && html`<${Confirm} title="Undo this operation?" yes="Undo" danger=${false} work=${run} onClose=${() => setAsking(null)}><p>${number(asking.succeeded)} ${asking.dataType} go back to what they were. Records that were changed since are left as they are and named.</p><//>`}</div>`;
}
