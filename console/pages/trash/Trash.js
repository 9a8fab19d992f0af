/* What was deleted and can still come back, with the days that are left. */
import { change, read } from "../../lib/api.js";
import { many, number, pathId, plain } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { requery } from "../../lib/router.js";
import { get, may, say } from "../../lib/store.js";
import { base, choose, tenantOf } from "../../lib/tenants.js";
import { html, useEffect, useState } from "../../lib/ui.js";
import { act, asOf, Button, Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Confirm } from "../../parts/Dialog.js";
import { Icon } from "../../parts/Icon.js";
import { Pages } from "../../parts/Pages.js";
import { TenantChoice } from "../../parts/TenantChoice.js";

const LIMIT = 50;
const tone = (days) => (days <= 1 ? "bad" : days <= 7 ? "warn" : "");

export function Trash({ query }) {
  const tenant = tenantOf(query);
  const asked = { type: query.type, page: query.page ?? 1, limit: LIMIT };
  const live = useLive((signal) => read(`${base(tenant)}/trash`, asked, { signal }), [tenant, JSON.stringify(asked)], { every: 0 });
  const [chosen, setChosen] = useState(new Map());
  const [purging, setPurging] = useState(null);
  useEffect(() => setChosen(new Map()), [tenant, query.type, query.page]);
  const items = live.data?.items ?? [];
  const kinds = (get().entities ?? []).filter((each) => each.trash);
  const nameOf = (item) => kinds.find((each) => each.singular === item.type || each.name === item.type)?.name ?? item.type;
  const keyOf = (item) => `${item.type} ${item.id}`;
  const bring = (item) => (key) => change("POST", `${base(tenant)}/trash/${pathId(item.id)}/restore`, { dataType: nameOf(item) }, { key });
  async function restore(item) {
    if (await act(`${plain(item.name)} is back.`, bring(item))) live.reload();
  }
  async function restoreAll() {
    const results = [];
    for (const item of chosen.values()) {
      results.push(await bring(item)(crypto.randomUUID()).then(() => null, (error) => `${plain(item.name)}: ${error.message}`));
    }
    const failed = results.filter(Boolean);
    say(failed.length ? `${number(results.length - failed.length)} restored, ${number(failed.length)} not. ${failed[0]}` : `${many(results.length, "item")} restored.`, { tone: failed.length ? "bad" : "ok", seconds: failed.length ? 20 : 8 });
    setChosen(new Map());
    live.reload();
  }
  async function purge() {
    const answer = await change("DELETE", `${base(tenant)}/trash/${pathId(purging.id)}?dataType=${encodeURIComponent(nameOf(purging))}`);
    say("Deleted for good.");
    live.reload();
    return answer;
  }
  const flip = (item) => {
    const next = new Map(chosen);
    if (!next.delete(keyOf(item))) next.set(keyOf(item), item);
    setChosen(next);
  };
  return html`<div class="stack wide-page"><div class="head"><h1>Trash</h1><span class="dim">${live.data ? number(live.data.pagination.total) : ""}</span><span class="push"></span><span class="dim meta">${asOf(live.at)}</span><${Button} small onClick=${live.reload}>Refresh<//></div>
    <div class="filters"><${TenantChoice} value=${tenant} onChange=${(id) => choose(id, { page: null })} />
      <select class="input" aria-label="Kind" value=${query.type ?? ""} onChange=${(event) => requery({ type: event.target.value || null, page: null })}><option value="">Accounts and posts</option>${kinds.map((each) => html`<option selected=${each.name === query.type}>${each.name}</option>`)}</select></div>
    ${chosen.size > 0 && html`<div class="notice" role="region" aria-label="Chosen items"><p>${number(chosen.size)} chosen</p><${Button} small kind="primary" onClick=${restoreAll}>Restore ${number(chosen.size)}<//><span class="push"></span><${Button} small kind="quiet" onClick=${() => setChosen(new Map())}>Choose none<//></div>`}
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="the trash" /></div>`}
    ${live.data && !items.length && html`<div class="card"><${Empty} title="The trash is empty">Deleted records stay here until they are purged, 30 days unless it is set otherwise.<//></div>`}
    ${items.length > 0 && html`<div class="card over"><table class="table trash"><thead><tr>${may("operator") && html`<th class="tight"><span class="unseen">Choose</span></th>`}<th scope="col">What</th><th scope="col" class="t-by">Deleted</th><th scope="col" class="t-left">Purged</th><th class="t-do"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${items.map((item) => html`<tr key=${keyOf(item)} aria-selected=${chosen.has(keyOf(item)) ? "true" : undefined}>${may("operator") && html`<td class="tight"><input type="checkbox" aria-label=${`Choose ${plain(item.name).slice(0, 80)}`} checked=${chosen.has(keyOf(item))} onChange=${() => flip(item)} /></td>`}
        <td><b><${Name} of=${item.name} /></b> <span class="dim">${item.type}${item.cascaded?.posts ? ` with ${many(item.cascaded.posts, "post")}` : ""}</span></td>
        <td class="soft t-by"><${Time} at=${item.deletedAt} /> by <${Name} of=${item.deletedBy ?? "somebody"} /></td>
        <td class="t-left"><span class="mark ${tone(item.daysUntilPurge)}">${tone(item.daysUntilPurge) && html`<${Icon} name=${tone(item.daysUntilPurge)} size=${14} />`}in ${many(item.daysUntilPurge, "day")}</span></td>
        <td class="t-do"><div class="buttons">${may("operator") && html`<${Button} small onClick=${() => restore(item)}>Restore<//>`}${may("admin") && html`<${Button} small kind="danger" onClick=${() => setPurging(item)}>Delete…<//>`}</div></td></tr>`)}</tbody></table></div>`}
    ${live.data && html`<${Pages} of=${live.data.pagination} />`}
    ${purging && html`<${Confirm} title="Delete for good?" yes="Delete for good" typed=${plain(purging.name)} work=${purge} onClose=${() => setPurging(null)}><p>This ${purging.type} and what went to the trash with it are gone then. Backups still hold them.</p><//>`}</div>`;
}
