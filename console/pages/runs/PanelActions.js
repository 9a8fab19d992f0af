/* The buttons of a run's panel: those that apply now, and no others. */
import { change, read } from "../../lib/api.js";
import { go, to } from "../../lib/router.js";
import { may, say } from "../../lib/store.js";
import { html, useState } from "../../lib/ui.js";
import { Button } from "../../parts/basics.js";
import { Confirm } from "../../parts/Dialog.js";
import { can, cancel, compare, fileOf, pin, retry, revert, verify } from "./actions.js";

/** The newest backup of the tenant that somebody has proved, for a run that made none. */
async function lastGood(tenant) {
  const { data } = await read("/api/backup", { project_id: tenant, status: "completed", limit: 50 });
  const found = data.find((each) => each.verification?.ok) ?? data[0];
  if (found) go(to("/runs", { tenant, run: found.job_id }));
  else say(`${tenant} has no completed backup.`, { tone: "warn" });
}

export function PanelActions({ job, backup, file, done, close }) {
  const [asking, setAsking] = useState(null);
  const link = file?.downloadUrl ?? fileOf(job);
  const then = (work) => async () => { await work; done(); };
  const isBackup = job.type === "export_backup";
  const isStored = isBackup || job.type === "export_logs";
  const files = Object.entries(job.result?.files ?? {}).filter(([, each]) => each?.url ?? (typeof each === "string" && each));
  const remove = async () => {
    const path = isStored ? `/api/backup/${job.id}` : `/api/guilds/${job.project_id}/exports/${job.id}`;
    await change("DELETE", path);
    say("Deleted.");
    close();
    return true;
  };
  const failed = job.status === "failed";
  return html`<div class="buttons">
    ${can(job, "retry") && html`<${Button} kind=${failed ? "primary" : ""} onClick=${() => retry(job).then(done)}>Retry<//>`}
    ${can(job, "cancel") && html`<${Button} onClick=${() => cancel(job).then(done)}>Cancel<//>`}
    ${link && html`<a class="btn primary" data-download download href=${link}>Download</a>`}
    ${files.map(([name, each]) => html`<a class="btn" download href=${each.url ?? each}>${name[0].toUpperCase() + name.slice(1)} rows</a>`)}
    ${can(job, "verify") && html`<${Button} onClick=${() => verify(job).then(done)}>Verify<//>`}
    ${isBackup && can(job, "pin") && html`<${Button} onClick=${() => pin(job, true).then(done)}>Pin<//>`}
    ${isBackup && can(job, "unpin") && html`<${Button} onClick=${() => pin(job, false).then(done)}>Unpin<//>`}
    ${isBackup && can(job, "restore") && html`<a class="btn" href=${to(`/restore/${job.id}`)}>Restore…</a>`}
    ${isBackup && can(job, "compare") && html`<${Button} onClick=${() => compare(job)}>Compare<//>`}
    ${job.type === "compare" && job.status === "completed" && html`<a class="btn primary" href=${to(`/compare/${job.id}`)}>See the differences</a>`}
    ${job.type === "restore" && can(job, "revert") && html`<${Button} kind="danger" onClick=${() => setAsking("revert")}>Revert…<//>`}
    ${failed && isBackup && html`<${Button} onClick=${() => lastGood(job.project_id)}>Last good backup<//>`}
    ${isBackup && may("admin") && html`<a class="btn wide" href=${to(`/tenants/${job.project_id}`, { tab: "settings" })}>Settings</a>`}
    <span class="push"></span>
    ${can(job, "delete") && html`<${Button} kind="danger" onClick=${() => setAsking("delete")}>Delete…<//>`}
    ${asking === "revert" && html`<${Confirm} title="Take this restore back?" yes="Revert" work=${async () => { await revert(job); done(); return true; }} onClose=${() => setAsking(null)}>
      <p>The state from before the restore takes its place again. What was written since the restore is put aside.</p><//>`}
    ${asking === "delete" && html`<${Confirm} title=${isBackup ? "Delete this backup?" : isStored ? "Delete these logs?" : "Delete this export?"} yes="Delete for good" work=${remove} onClose=${() => setAsking(null)}>
      <p>The file and its record go for good. ${isBackup && backup?.verification?.ok ? "This backup is verified." : ""} The last verified backup of a tenant cannot be deleted here.</p><//>`}</div>`;
}
