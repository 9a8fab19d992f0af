/* A backup beside the tenant of today: entity by entity, record by record, field by field; what is chosen comes back. */
import { read } from "../../lib/api.js";
import { date, many, number, plain, time } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { requery, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { html, useEffect, useState } from "../../lib/ui.js";
import { Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Progress } from "../runs/RunTable.js";
import { Why } from "../runs/Why.js";
import { BringBack } from "./BringBack.js";
import { Differences } from "./Differences.js";
import { RecordDiff } from "./RecordDiff.js";

export const KINDS = { only_in_backup: "Lost", changed: "Changed", only_live: "New since" };

/** "Since this backup, acme lost 14 accounts, changed 37 and gained 212." */
export function sentence(tenant, entity, moment) {
  const parts = [[entity.only_in_backup, `lost ${many(entity.only_in_backup, "record")} of ${entity.name}`], [entity.changed, `changed ${number(entity.changed)}`], [entity.only_live, `gained ${number(entity.only_live)}`]].filter(([count]) => count).map(([, words]) => words);
  if (!parts.length) return `Nothing of ${entity.name} differs from ${moment}.`;
  return `Since this backup, ${tenant} ${parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts[0]}.`;
}

export function Compare({ query, job: id }) {
  const live = useLive((signal) => read(`/api/jobs/${id}`, {}, { signal }), [id], { isBusy: ({ data }) => ["pending", "running"].includes(data.status) });
  const job = live.data?.data;
  if (!may("admin")) return html`<h1>Comparison</h1><${Empty}>This needs the role admin.<//>`;
  if (!job) return html`<h1>Comparison</h1><${Failure} error=${live.error} retry=${live.reload} all=${html`<a class="btn small" href=${to("/runs", { type: "compare" })}>All comparisons</a>`} />${!live.error && html`<${Loading} what="the comparison" />`}`;
  if (["pending", "running"].includes(job.status)) {
    return html`<div class="narrow"><h1>Comparing a backup with <${Name} of=${job.project_id} /></h1><section class="card in stack"><p class="soft">${job.progress.message}</p><${Progress} job=${job} most=${3} /><p class="dim">Nothing of the tenant is changed. This page shows the differences as soon as they are found.</p></section></div>`;
  }
  if (job.status !== "completed") return html`<div class="narrow"><h1>Comparison of <${Name} of=${job.project_id} /></h1><section class="card in"><${Why} job=${job} /></section></div>`;
  return html`<${Found} job=${job} query=${query} />`;
}

function Found({ job, query }) {
  const { result } = job;
  const differing = (entity) => entity.only_in_backup + entity.changed + entity.only_live;
  const entities = result.entities.toSorted((a, b) => differing(b) - differing(a));
  const entity = entities.find((each) => each.name === query.entity) ?? entities[0];
  const kind = KINDS[query.kind] ? query.kind : entity?.only_in_backup ? "only_in_backup" : "changed";
  const [chosen, setChosen] = useState(new Map());
  const [rows, setRows] = useState([]);
  const [turn, setTurn] = useState(0);
  useEffect(() => setChosen(new Map()), [entity?.name, kind, turn]);
  const moment = `${date(result.backup_at)}, ${time(result.backup_at)} UTC`;
  if (!entity) return html`<h1>Nothing was compared.</h1>`;
  const open = rows.find((each) => each.id === query.record) ?? (query.record ? null : rows[0]);
  return html`<div class="compare"><header class="compare-head"><p class="meta"><a href=${to("/tenants")}>Tenants</a> / <a href=${to(`/tenants/${job.project_id}`)}><${Name} of=${job.project_id} /></a> / <a href=${to("/runs", { run: result.backup_id })}>Backup of ${moment}</a></p>
      <h1>${sentence(plain(job.project_id), entity, moment)}</h1>
      <p class="soft">${many(entity.same, "record")} of ${entity.name} ${entity.same === 1 ? "is" : "are"} the same. Compared <${Time} at=${job.completed_at} />; kept until <${Time} at=${result.expires_at} form="exact" />.${result.left_out?.length ? ` Left out: ${result.left_out.map((each) => `${plain(each.name)} (${plain(each.reason)})`).join(", ")}.` : ""}</p></header>
    <div class="compare-columns ${query.record ? "has-record" : ""}"><nav class="side-list" aria-label="Entities">${entities.map((each) => html`<a href=${to(`/compare/${job.id}`, { entity: each.name })} aria-current=${each === entity ? "true" : undefined}>${plain(each.name)}<span class=${differing(each) ? "" : "dim"}>${number(differing(each))}</span></a>`)}</nav>
      <section class="between" aria-label="Records that differ"><nav class="tabbar" aria-label="Kinds of difference">${Object.entries(KINDS).map(([each, words]) => html`<a href=${to(`/compare/${job.id}`, { entity: entity.name, kind: each })} aria-current=${kind === each ? "true" : undefined}>${words} <span class="dim">${number(entity[each])}</span></a>`)}</nav>
        <${Differences} job=${job} entity=${entity} kind=${kind} turn=${turn} chosen=${chosen} setChosen=${setChosen} open=${open} setRows=${setRows} show=${(row) => requery({ entity: entity.name, kind, record: row.id }, { replace: Boolean(query.record) })} /></section>
      <${RecordDiff} row=${open} kind=${kind} entity=${entity.name} tenant=${job.project_id} moment=${moment} since=${result.backup_at} chosen=${chosen} setChosen=${setChosen} back=${() => requery({ record: null })} /></div>
    <${BringBack} job=${job} entity=${entity} kind=${kind} chosen=${chosen} clear=${() => setChosen(new Map())} done=${() => setTurn(turn + 1)} /></div>`;
}
