/* One tenant: how safe it is, its backups on a calendar, its runs, its settings; trash and audit a click away. */
import { ApiError, read } from "../../lib/api.js";
import { plain } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { useLive } from "../../lib/poll.js";
import { to } from "../../lib/router.js";
import { get, may } from "../../lib/store.js";
import { html } from "../../lib/ui.js";
import { Button, Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Protection } from "../../parts/Status.js";
import { standing } from "../../words/protection.js";
import { backUp } from "../runs/actions.js";
import { RunTable } from "../runs/RunTable.js";
import { Backups } from "./Backups.js";
import { Settings } from "./Settings.js";

const TABS = { backups: "Backups", runs: "Runs", settings: "Settings" };

async function protectionOf(tenant, signal) {
  try {
    const { data } = await read("/api/backup/protection", { q: tenant, limit: 100 }, { signal });
    return data.find((each) => each.project_id === tenant) ?? null;
  } catch (error) {
    if (error instanceof ApiError && [400, 404].includes(error.status)) return null;
    throw error;
  }
}

export function Tenant({ query, tenant }) {
  const known = get().tenants.find((each) => each.id === tenant);
  const live = useLive((signal) => protectionOf(tenant, signal), [tenant], { every: 60_000 });
  const start = () => backUp(tenant).then(live.reload);
  useKeys({ b: () => known && may("admin") && start() }, [tenant]);
  if (!known) return html`<h1>Tenants</h1><${Empty}>There is no such tenant, or you may not see it. <a href=${to("/tenants")}>All tenants</a><//>`;
  const tab = TABS[query.tab] ? query.tab : "backups";
  const name = plain(known.name ?? tenant);
  const row = live.data;
  return html`<div class="stack wide-page"><p class="meta"><a href=${to("/tenants")}>Tenants</a> / <${Name} of=${tenant} mono /></p>
    <div class="head"><div class="say"><h1>${live.at ? standing(name, row) : name}</h1>${row && html`<p><${Protection} state=${row.state} /> ${row.next_run_at ? html`Next backup <${Time} at=${row.next_run_at} />.` : "No backup is scheduled."}${row.last_failure ? html` The last one failed: <a href=${to("/runs", { run: row.last_failure.id })}>why</a>.` : ""}</p>`}</div>
      <span class="push"></span><div class="buttons">${may("admin") && html`<${Button} kind="primary" onClick=${start}>Back up now<//>`}
      ${may("operator") && html`<a class="btn" href=${to("/new/export", { tenant })}>Export</a>`}<a class="btn" href=${to(`/records/${tenant}/${get().entities?.[0]?.name}`)}>Records</a><a class="btn" href=${to("/trash", { tenant })}>Trash</a>${may("admin") && html`<a class="btn" href=${to("/audit", { tenant })}>Audit</a>`}</div></div>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    <nav class="tabbar" aria-label="Of this tenant">${Object.entries(TABS).map(([each, words]) => html`<a href=${to(`/tenants/${tenant}`, { tab: each === "backups" ? null : each })} aria-current=${tab === each ? "true" : undefined}>${words}</a>`)}</nav>
    ${tab === "backups" && html`<${Backups} tenant=${tenant} row=${row} />`}
    ${tab === "runs" && html`<${RecentRuns} tenant=${tenant} />`}
    ${tab === "settings" && html`<${Settings} tenant=${tenant} />`}</div>`;
}

function RecentRuns({ tenant }) {
  const live = useLive((signal) => read("/api/jobs", { project_id: tenant, limit: 30 }, { signal }), [tenant], { isBusy: (answer) => answer.data.some((job) => ["pending", "running"].includes(job.status)) });
  const rows = live.data?.data ?? [];
  return html`<${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="runs" /></div>`}
    ${live.data && !rows.length && html`<div class="card"><${Empty}>No run yet.<//></div>`}
    ${rows.length > 0 && html`<${RunTable} rows=${rows} chosen=${new Set()} query=${{ tenant }} /><p><a href=${to("/runs", { tenant })}>All runs of this tenant</a></p>`}`;
}
