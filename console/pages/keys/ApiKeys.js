/* A tenant's API keys: made, shown once, revoked. */
import { change, read } from "../../lib/api.js";
import { plain } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { may, say } from "../../lib/store.js";
import { choose, tenantOf } from "../../lib/tenants.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Confirm } from "../../parts/Dialog.js";
import { TenantChoice } from "../../parts/TenantChoice.js";
import { NewKey } from "./NewKey.js";

export function ApiKeys({ query }) {
  if (!may("admin")) return html`<h1>API keys</h1><${Empty}>This needs the role admin.<//>`;
  return html`<${Keys} tenant=${tenantOf(query)} />`;
}

function Keys({ tenant }) {
  const live = useLive((signal) => read("/api/v1/api-keys", {}, { tenant, signal }), [tenant]);
  const [making, setMaking] = useState(false);
  const [ending, setEnding] = useState(null);
  const rows = live.data?.data ?? [];
  async function revoke() {
    await change("DELETE", `/api/v1/api-keys/${ending.id}`, undefined, { tenant });
    say("The key opens nothing any more.");
    live.reload();
    return true;
  }
  return html`<div class="stack wide-page"><div class="head"><h1>API keys</h1><span class="push"></span><${Button} kind="primary" icon="plus" onClick=${() => setMaking(true)}>New key<//></div>
    <div class="filters"><${TenantChoice} value=${tenant} onChange=${(id) => choose(id)} /></div>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="the API keys" /></div>`}
    ${live.data && !rows.length && html`<div class="card"><${Empty} title="No API key yet">A program that calls the API for this tenant signs in with one.<//></div>`}
    ${rows.length > 0 && html`<div class="card over"><table class="table"><thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Begins with</th><th scope="col">Last used</th><th scope="col">Expires</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${rows.map((each) => html`<tr key=${each.id}><td><${Name} of=${each.name} /></td><td>${each.role}</td><td><${Name} of=${each.prefix} mono /></td>
        <td class="soft"><${Time} at=${each.lastUsedAt} /></td><td class="soft">${each.expiresAt ? html`<${Time} at=${each.expiresAt} form="short" />` : "never"}</td>
        <td><${Button} small aria-label=${`Revoke ${plain(each.name)}`} onClick=${() => setEnding(each)}>Revoke<//></td></tr>`)}</tbody></table></div>`}
    ${making && html`<${NewKey} tenant=${tenant} onClose=${() => { setMaking(false); live.reload(); }} />`}
    ${ending && html`<${Confirm} title="Revoke the key?" yes="Revoke it" work=${revoke} onClose=${() => setEnding(null)}><p>Programs that use <b><${Name} of=${ending.name} /></b> are refused from their next request on. This cannot be undone.</p><//>`}</div>`;
}
