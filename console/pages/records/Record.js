/* One record: its fields, its life out of the journal, what can be done with it. */
import { change, read } from "../../lib/api.js";
import { pathId, plain } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { back, to } from "../../lib/router.js";
import { may, say } from "../../lib/store.js";
import { base } from "../../lib/tenants.js";
import { html, useState } from "../../lib/ui.js";
import { act, Button, Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Confirm } from "../../parts/Dialog.js";
import { EditRecord } from "./EditRecord.js";
import { Value } from "./Value.js";

export function Record({ tenant, entity, id }) {
  const path = `/api/v1/${entity.name}/${pathId(id)}`;
  const live = useLive((signal) => read(path, {}, { tenant, signal }), [path, tenant], { every: 0 });
  const [asking, setAsking] = useState(null);
  const record = live.data?.data;
  const list = to(`/records/${tenant}/${entity.name}`);
  async function remove() {
    const answer = await change("DELETE", path, undefined, { tenant });
    say("It is in the trash.", { action: { text: "See the trash", run: () => { location.assign(to("/trash", { tenant, type: entity.name })); } } });
    back(list);
    return answer;
  }
  return html`<div class="narrow"><p class="meta"><a href=${to(`/tenants/${tenant}`)}><${Name} of=${tenant} /></a> / <a href=${list}>${entity.name}</a></p>
    <div class="head"><h1><${Name} of=${record ? record[entity.label] || id : id} /></h1><span class="push"></span>
      ${record && may("operator") && !entity.readOnly && html`<${Button} onClick=${() => setAsking("edit")}>Edit<//>${entity.trash && html`<${Button} kind="danger" onClick=${() => setAsking("delete")}>Delete…<//>`}`}</div>
    <${Failure} error=${live.error} retry=${live.reload} all=${html`<a class="btn small" href=${list}>All ${entity.name}</a>`} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="the record" /></div>`}
    ${record && html`<section class="card in" aria-label="Fields"><dl class="kv">${entity.fields.map((field) => html`<dt>${field.name}</dt><dd><${Reference} tenant=${tenant} field=${field} value=${record[field.name]} /></dd>`)}</dl></section>`}
    ${record && (may("admin") ? html`<${History} tenant=${tenant} entity=${entity} path=${path} changed=${live.reload} />` : html`<p class="dim">A record's history needs the role admin.</p>`)}
    ${asking === "delete" && html`<${Confirm} title=${`Delete this ${entity.singular}?`} yes="Move to the trash" work=${remove} onClose=${() => setAsking(null)}><p>It goes to the trash, from where it can be restored. What belongs to it goes along.</p><//>`}
    ${asking === "edit" && html`<${EditRecord} tenant=${tenant} entity=${entity} path=${path} record=${record} done=${live.reload} onClose=${() => setAsking(null)} />`}</div>`;
}

function Reference({ tenant, field, value }) {
  const target = field.references && (typeof field.references === "string" ? field.references : field.references.entity);
  if (!target || !value) return html`<${Value} of=${value} type=${field.type} whole />`;
  return html`<a href=${to(`/records/${tenant}/${target}/${pathId(value)}`)}><${Name} of=${value} /></a>`;
}

const differing = (before, after) => [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])]
  .filter((name) => name !== "updatedAt" && JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name]));

function History({ tenant, entity, path, changed }) {
  const live = useLive((signal) => read(`${path}/history`, { limit: 50 }, { tenant, signal }), [path, tenant], { every: 0 });
  const entries = live.data?.data ?? [];
  const undo = async (operation) => {
    if (await act("The operation is undone.", (key) => change("POST", `${base(tenant)}/bulk/undo`, { operationId: operation }, { key }))) { live.reload(); changed(); }
  };
  return html`<section class="card" aria-labelledby="history"><header><h2 id="history">What happened to it</h2></header><${Failure} error=${live.error} retry=${live.reload} />
    ${!live.data && !live.error && html`<${Loading} what="its history" rows=${3} />`}
    ${live.data && !entries.length && html`<${Empty}>The journal knows nothing of this record.<//>`}
    <ol class="history">${entries.map((entry) => html`<li><span class="dim"><${Time} at=${entry.at} form="exact" /></span><div><b>${plain(entry.type)}</b> by <${Name} of=${entry.actor ?? "somebody outside Stowage"} />
      ${entry.before && entry.after && html`<dl class="changes">${differing(entry.before, entry.after).slice(0, 12).map((name) => html`<dt>${name}</dt><dd><del><${Value} of=${entry.before[name]} /></del> <span aria-label="became">→</span> <ins><${Value} of=${entry.after[name]} /></ins></dd>`)}</dl>`}</div>
      ${entry.operation && may("operator") && html`<${Button} small onClick=${() => undo(entry.operation)}>Undo<//>`}</li>`)}</ol>
    ${entries.length > 0 && live.data.next_cursor && html`<p class="in dim">Older entries stand in the <a href=${to("/audit", { tenant, entity: entity.name, id: path.split("/").at(-1) })}>audit log</a>.</p>`}</section>`;
}

