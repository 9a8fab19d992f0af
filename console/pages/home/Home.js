/* One sentence that says how things stand, what needs attention with the action beside it, and how runs went. */
import { ApiError, read } from "../../lib/api.js";
import { bytes, dollars, number, percent, span } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { to } from "../../lib/router.js";
import { get, may } from "../../lib/store.js";
import { html } from "../../lib/ui.js";
import { Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Bars } from "../../parts/Bars.js";
import { titleOf } from "../../words/states.js";
import { Progress } from "../runs/RunTable.js";
import { Attention } from "./Attention.js";
import { Say } from "./Say.js";

const CALM = 60_000;

/** What an older server does not have is left out. */
const optional = (promise) => promise.catch((error) => {
  if (error instanceof ApiError && [400, 404].includes(error.status)) return null;
  throw error;
});

export function Home() {
  const fleet = useLive((signal) => optional(read("/api/backup/stats", {}, { signal })), [], { every: CALM });
  const attention = useLive((signal) => read("/api/v1/attention", {}, { signal }), [], { every: CALM });
  const stats = useLive((signal) => read("/api/jobs/stats", { days: 30 }, { signal }), [], { every: CALM });
  const running = useLive((signal) => read("/api/jobs", { status: "running", limit: 20 }, { signal }), [], { isBusy: (answer) => answer.data.length > 0 });
  if (!get().tenants.length) return html`<div class="home"><section class="say"><h1>No tenant yet.</h1><p>Register one; then this page says how safe it is.</p></section></div>`;
  return html`<div class="home"><${Say} live=${fleet} />
    <${Attention} live=${attention} stats=${stats.data?.data} />
    <div class="beside"><${PerDay} live=${stats} /><${Figures} stats=${stats.data?.data} fleet=${fleet.data?.data} /></div>
    <${Now} live=${running} /></div>`;
}

function PerDay({ live }) {
  const stats = live.data?.data;
  const worst = stats?.days.reduce((most, day) => (day.failed > most.failed ? day : most));
  return html`<section class="card" aria-labelledby="per-day"><header><h2 id="per-day">Runs per day</h2><span class="push"></span>
      <div class="legend"><span><i class="back-ok"></i>Completed</span><span><i class="back-idle"></i>Cancelled</span><span><i class="back-bad"></i>Failed, own scale</span></div></header>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!stats && !live.error && html`<${Loading} what="the runs of 30 days" rows=${4} />`}
    ${stats && html`<${Bars} days=${stats.days} label=${`Runs per day over ${stats.days.length} days: ${number(stats.completed)} completed, ${number(stats.failed)} failed, ${number(stats.cancelled)} cancelled.${worst.failed ? ` The worst day was ${worst.day} with ${worst.failed}.` : ""}`} />`}</section>`;
}

function Figures({ stats, fleet }) {
  if (!stats) return html`<section class="card"><${Loading} what="figures" rows=${4} /></section>`;
  const kinds = Object.fromEntries((stats.kinds ?? []).map((each) => [each.type, each]));
  const states = fleet?.tenants;
  const judged = states ? states.safe + states.soon_due + states.at_risk : 0;
  const median = (name, value, p95) => [name, span(value) || "none", p95 ? `p95 ${span(p95)}` : ""];
  const figures = [
    ["Success, 30 days", stats.success_rate === null ? "none" : percent(stats.success_rate), `of ${number(stats.completed + stats.failed)}`],
    judged ? ["Verified in time", percent((states.safe + states.soon_due) / judged), `of ${number(judged)}`] : ["Tenants", number(get().tenants.length), ""],
    kinds.export_backup ? median("Backup, median", kinds.export_backup.median_ms, kinds.export_backup.p95_ms) : median("Run, median", stats.median_ms, stats.p95_ms),
    kinds.export ? median("Export, median", kinds.export.median_ms, kinds.export.p95_ms) : ["Runs", number(stats.total), "in 30 days"],
    fleet?.bytes !== undefined ? ["Stored", bytes(fleet.bytes), `${number(fleet.completed ?? fleet.total)} backups`] : ["Written", bytes(stats.bytes), "in 30 days"],
    fleet?.cost_usd_month !== undefined ? ["Cost of a month", dollars(fleet.cost_usd_month), "estimate"] : ["Cancelled", number(stats.cancelled), ""],
  ];
  return html`<section class="card" aria-label="Figures"><dl class="figures">${figures.map(([name, value, note]) => html`<div><dt>${name}</dt><dd>${value} <small>${note}</small></dd></div>`)}</dl></section>`;
}

function Now({ live }) {
  const jobs = live.data?.data ?? [];
  return html`<section class="card" aria-labelledby="now"><header><h2 id="now">Running now</h2><span class="dim">${jobs.length || ""}</span><span class="push"></span><a href=${to("/runs")}>All runs</a></header>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${live.data && !jobs.length && html`<${Empty}>Nothing runs at the moment.${may("operator") ? "" : " Operators start runs."}<//>`}
    <ul class="now">${jobs.map((job) => html`<li key=${job.id}><span><a class="strong" href=${to("/runs", { run: job.id })}>${titleOf(job)}<${Name} of=${job.project_id} /></a> <span class="soft">${job.progress.message}</span> <span class="dim">since <${Time} at=${job.started_at ?? job.created_at} /></span></span><${Progress} job=${job} most=${4} /></li>`)}</ul></section>`;
}

