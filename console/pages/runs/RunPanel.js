/* One run: why it failed and what to do, its timeline, what it left, how it was asked for, what can be done now. */
import { read } from "../../lib/api.js";
import { dollars, exact, many } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { may } from "../../lib/store.js";
import { html, useEffect, useRef } from "../../lib/ui.js";
import { Copy, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Gantt, rowsOf } from "../../parts/Gantt.js";
import { Icon } from "../../parts/Icon.js";
import { Status } from "../../parts/Status.js";
import { STAGES, titleOf, took, TRIGGERS } from "../../words/states.js";
import { PanelActions } from "./PanelActions.js";
import { Progress } from "./RunTable.js";
import { Particulars, RequestSent } from "./RunFacts.js";
import { Why } from "./Why.js";

const FINISHED = ["completed", "failed", "cancelled"];

/** The job, its timeline, and the backup or export that it made. */
async function load(id, signal) {
  const job = (await read(`/api/jobs/${id}`, {}, { signal })).data;
  const timeline = (await read(`/api/jobs/${id}/timeline`, {}, { signal })).data;
  let backup = null, file = null;
  const gone = (error) => { if (![404, 410].includes(error.status)) throw error; return null; };
  if (job.type === "export_backup" && job.result) backup = (await read(`/api/backup/${id}`, {}, { signal }).catch(gone))?.data ?? null;
  if (job.type === "export" && job.status === "completed") file = await read(`/api/guilds/${job.project_id}/exports/${id}`, {}, { signal }).catch(gone);
  return { job, timeline, backup, file };
}

export function RunPanel({ id, listed, close, changed, neighbour }) {
  const live = useLive((signal) => load(id, signal), [id], { isBusy: ({ job }) => !FINISHED.includes(job.status) });
  const heading = useRef(null);
  const job = live.data?.job ?? listed;
  useEffect(() => { heading.current?.focus({ preventScroll: true }); }, [Boolean(job)]);
  const status = live.data?.job.status;
  useEffect(() => { if (status) changed(); }, [status]);
  const done = () => { live.reload(); changed(); };
  return html`<aside class="panel" aria-labelledby="panel-title">
    <header><div class="line"><button type="button" class="btn quiet back" onClick=${close}><${Icon} name="left" />Runs</button>
      ${job && html`<${Status} job=${job} />`}<span class="dim mono wide" title=${id}>run ${id.slice(0, 4)}…${id.slice(-4)}</span><span class="push"></span>
      <button type="button" class="btn quiet small" aria-label="Previous run" onClick=${() => neighbour(-1)}><${Icon} name="up" /></button>
      <button type="button" class="btn quiet small" aria-label="Next run" onClick=${() => neighbour(1)}><${Icon} name="down" /></button>
      <span class="wide"><${Copy} text=${location.href} label="Copy link" /></span>
      <button type="button" class="btn quiet small wide" aria-label="Close" onClick=${close}><${Icon} name="close" /></button></div>
      <h2 id="panel-title" tabindex="-1" ref=${heading}>${job ? html`${titleOf(job)}<${Name} of=${job.project_id} />` : "Run"}</h2>
      ${job && html`<p class="soft">${job.trigger ? `${TRIGGERS[job.trigger] ?? job.trigger}, ` : ""}${exact(job.created_at)} (<${Time} at=${job.created_at} />)${took(job) && `. Took ${took(job)}`}${job.attempts > 1 || job.status === "failed" ? `, ${job.attempts} of ${many(job.max_attempts, "attempt")}` : ""}.</p>`}
      ${live.data && html`<${PanelActions} ...${live.data} done=${done} close=${close} />`}</header>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} all=${html`<button type="button" class="btn small" onClick=${close}>All runs</button>`} />
    ${!live.data && !live.error && html`<${Loading} what="the run" />`}
    ${live.data && html`<${Body} ...${live.data} retry=${done} />`}</aside>`;
}

function Body({ job, timeline, backup, file }) {
  const rows = rowsOf(timeline, STAGES);
  const words = rows.map((row) => `${row.label} ${row.words}${row.failed ? ", failed" : ""}`).join("; ");
  return html`${job.status === "failed" && html`<section><${Why} job=${job} timeline=${timeline} /></section>`}
    ${job.status === "running" && html`<section aria-label="Progress"><p class="soft">${job.progress.message}</p><${Progress} job=${job} most=${4} /></section>`}
    ${rows.length > 0 && html`<section><h3>Timeline</h3><${Gantt} rows=${rows} label=${`${words}.`} /><${Attempts} timeline=${timeline} /></section>`}
    <${Particulars} job=${job} timeline=${timeline} backup=${backup} file=${file} />
    <${RequestSent} job=${job} />
    <section><h3>Cost</h3><p class="soft">${dollars(timeline.cost_usd) || "$0"}, an estimate${timeline.attempts.length > 1 ? ` of ${many(timeline.attempts.length, "start")} of the worker` : ""}.${may("admin") ? "" : " This page shows what your role may see."}</p></section>`;
}

function Attempts({ timeline }) {
  const failed = timeline.attempts.filter((each) => each.error);
  if (failed.length < 2) return null;
  return html`<ol class="attempts">${failed.map((each) => html`<li><b>Attempt ${each.n}</b> <span class="soft"><${Name} of=${each.error} /></span></li>`)}</ol>`;
}
