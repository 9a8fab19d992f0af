/* The rows of runs. On small screens each becomes two lines. */
import { bytes, number, plain, span } from "../../lib/format.js";
import { rateOf } from "../../lib/rates.js";
import { to } from "../../lib/router.js";
import { html } from "../../lib/ui.js";
import { Meter, Name, Time } from "../../parts/basics.js";
import { Status } from "../../parts/Status.js";
import { titleOf, took, TRIGGERS } from "../../words/states.js";

/** How far a running job is, in words: a share, the rate, the time left. */
export function progressWords(job) {
  const { percent, rows, bytes: size } = job.progress;
  const { left, perSecond, unit } = rateOf(job);
  const parts = percent ? [`${Math.round(percent)} %`] : [];
  if (rows) parts.push(`${number(rows)} rows`);
  else if (size) parts.push(bytes(size));
  if (perSecond) parts.push(unit === "rows" ? `${number(Math.round(perSecond))} rows/s` : `${bytes(perSecond)}/s`);
  if (left) parts.push(`${span(left)} left`);
  return parts.length ? parts : [job.progress.message || "Starting"];
}

export function Progress({ job, most = 2 }) {
  const words = progressWords(job);
  const shown = words.length > most ? [words[0], ...words.slice(-(most - 1))] : words;
  return html`<span class="going"><${Meter} share=${job.progress.percent ? job.progress.percent / 100 : null} words=${words.join(", ")} /><span>${shown.join(", ")}</span></span>`;
}

function Outcome({ job }) {
  if (job.status === "running") return html`<${Progress} job=${job} />`;
  if (job.status === "pending") return html`<span class="soft">${job.progress.message || "Waits for a slot"}</span>`;
  const result = job.result ?? {};
  const left = result.size_bytes ? bytes(result.size_bytes) : job.progress.rows ? `${number(job.progress.rows)} rows` : "";
  return html`${took(job)} ${left && html`<span class="dim">${left}</span>`}`;
}

export function RunTable({ rows, chosen, choose, setChosen, open, query, total }) {
  const triggered = rows.some((job) => job.trigger);
  const all = rows.length > 0 && rows.every((job) => chosen.has(job.id));
  return html`<div class="card over"><table class="table runs" aria-label="Runs, newest first" aria-rowcount=${total ?? rows.length}>
    <colgroup><col class="c-tight" /><col class="c-status" /><col />${triggered && html`<col class="c-trigger" />`}<col class="c-when" /><col class="c-took" /></colgroup>
    <thead><tr><th class="tight"><input type="checkbox" aria-label="Choose all that are shown" checked=${all}
      onChange=${() => setChosen(all ? new Set() : new Set(rows.map((job) => job.id)))} /></th><th scope="col">Status</th><th scope="col">Run</th>${triggered && html`<th scope="col" class="c-trigger">Trigger</th>`}<th scope="col">Started</th><th scope="col">Took or left</th></tr></thead>
    <tbody>${rows.map((job) => html`<tr key=${job.id} class=${open === job.id ? "open" : ""} aria-selected=${chosen.has(job.id) ? "true" : undefined}>
      <td class="tight"><input type="checkbox" aria-label=${`Choose ${titleOf(job)}${plain(job.project_id)}`} checked=${chosen.has(job.id)}
        onClick=${(event) => { event.preventDefault(); setTimeout(() => choose(job, event.shiftKey)); }} /></td>
      <td class="f-status"><${Status} job=${job} /></td>
      <td class="f-name"><a class="row" data-run=${job.id} href=${to("/runs", { ...query, run: job.id })} aria-current=${open === job.id ? "true" : undefined}>${titleOf(job)}<${Name} of=${job.project_id} /></a></td>
      ${triggered && html`<td class="soft c-trigger">${TRIGGERS[job.trigger] ?? ""}</td>`}
      <td class="soft f-when"><${Time} at=${job.created_at} form="short" /></td>
      <td class="f-took"><${Outcome} job=${job} /></td></tr>`)}</tbody></table></div>`;
}
