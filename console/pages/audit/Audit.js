/* Who did what in a tenant, newest first. */
import { change, read } from "../../lib/api.js";
import { pathId, plain } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { go, requery, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { base, choose, tenantOf } from "../../lib/tenants.js";
import { html, useEffect, useRef, useState } from "../../lib/ui.js";
import { act, Button, Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { TenantChoice } from "../../parts/TenantChoice.js";

const FIELDS = { actor: "Who", type: "What", entity: "Entity", id: "Id", since: "Since (2026-11-01)", until: "Until" };

export function Audit({ query }) {
  if (!may("admin")) return html`<h1>Audit</h1><${Empty}>This needs the role admin.<//>`;
  return html`<${Log} query=${query} />`;
}

function Log({ query }) {
  const tenant = tenantOf(query);
  const asked = { project_id: tenant, ...Object.fromEntries(Object.keys(FIELDS).map((name) => [name, query[name]])), limit: 50 };
  const wanted = JSON.stringify(asked);
  const live = useLive((signal) => read("/api/v1/audit", asked, { signal }), [wanted]);
  const [older, setOlder] = useState({ rows: [], cursor: undefined });
  useEffect(() => setOlder({ rows: [], cursor: undefined }), [wanted]);
  const first = live.data?.data ?? [];
  const known = new Set(first.map((each) => each.seq));
  const rows = [...first, ...older.rows.filter((each) => !known.has(each.seq))];
  const cursor = older.cursor === undefined ? live.data?.next_cursor : older.cursor;
  const more = async () => {
    const answer = await read("/api/v1/audit", { ...asked, cursor });
    setOlder({ rows: [...older.rows, ...answer.data], cursor: answer.next_cursor });
  };
  async function exported() {
    const made = await act("The audit log is being exported.", (key) => change("POST", `${base(tenant)}/exports`, { format: "csv", mode: "all", dataType: "audit" }, { key }));
    if (made) go(to("/runs", { run: made.id }));
  }
  return html`<div class="stack wide-page"><div class="head"><h1>Audit</h1><span class="push"></span><${Button} onClick=${exported}>Export all<//></div>
    <div class="filters" role="search" aria-label="Filter the audit log"><${TenantChoice} value=${tenant} onChange=${(id) => choose(id)} />${Object.entries(FIELDS).map(([name, words]) => html`<${Filter} name=${name} words=${words} value=${query[name] ?? ""} />`)}</div>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="the audit log" /></div>`}
    ${live.data && !rows.length && html`<div class="card"><${Empty} title="Nothing matches"><a href=${to("/audit", { tenant })}>Remove all filters</a><//></div>`}
    ${rows.length > 0 && html`<div class="card over"><table class="table audit"><thead><tr><th scope="col" class="t-when">When</th><th scope="col" class="t-by">Who</th><th scope="col">What</th><th scope="col" class="t-id">Of</th></tr></thead>
      <tbody>${rows.map((each) => html`<tr key=${each.seq}><td class="soft t-when"><${Time} at=${each.at} form="short" /></td><td class="t-by"><${Name} of=${each.actor ?? "outside Stowage"} /></td><td>${plain(each.type)}</td>
        <td class="t-id">${each.entity === "runs" ? html`<a class="mono" href=${to("/runs", { run: each.id })}>run ${plain(each.id).slice(0, 8)}</a>` : each.id ? html`<a class="mono" href=${to(`/records/${tenant}/${each.entity}/${pathId(each.id)}`)}>${plain(each.entity)} <${Name} of=${each.id} mono /></a>` : plain(each.entity)}</td></tr>`)}</tbody></table></div>`}
    ${cursor && html`<div class="buttons center"><${Button} onClick=${more}>Show older entries<//></div>`}</div>`;
}

function Filter({ name, words, value }) {
  const [text, setText] = useState(value);
  const timer = useRef(null);
  useEffect(() => setText(value), [value]);
  return html`<input class="input filter-${name}" aria-label=${words} placeholder=${words} value=${text} onInput=${(event) => {
    setText(event.target.value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => requery({ [name]: event.target.value.trim() || null }), 400);
  }} />`;
}
