/* What will happen, in words, and the button that does it; afterwards its undo. */
import { change } from "../../lib/api.js";
import { many, number, plain } from "../../lib/format.js";
import { say } from "../../lib/store.js";
import { base } from "../../lib/tenants.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Failure, useAction } from "../../parts/basics.js";

/** The chosen records by the fields that come back: each group is one request. */
export function groupsOf(chosen) {
  const groups = new Map();
  for (const [id, fields] of chosen) {
    const name = fields ? fields.toSorted().join("\n") : "";
    if (!groups.has(name)) groups.set(name, { ids: [], ...(fields ? { fields } : {}) });
    groups.get(name).ids.push(id);
  }
  return [...groups.values()];
}

export function BringBack({ job, entity, kind, chosen, clear, done }) {
  const [result, setResult] = useState(null);
  const [rename, setRename] = useState(false);
  const many_ = chosen.size;
  const action = useAction(async () => {
    const answers = [];
    for (const group of groupsOf(chosen)) {
      answers.push(await change("POST", `/api/backup/compare/${job.id}/bring-back`, { entity: entity.name, ...group, ...(rename ? { on_conflict: "rename" } : {}) }));
    }
    return answers;
  });
  const undoing = useAction(async (operations) => {
    for (const operationId of operations.toReversed()) await change("POST", `${base(job.project_id)}/bulk/undo`, { operationId });
    return true;
  });
  async function bring() {
    const answers = await action.run();
    if (!answers) return;
    const failed = answers.flatMap((each) => each.results.filter((item) => item.status === "error"));
    const succeeded = answers.reduce((sum, each) => sum + each.succeeded, 0);
    setResult({ operations: answers.filter((each) => each.succeeded).map((each) => each.operationId), failed, succeeded });
    say(`${many(succeeded, "record")} of ${entity.name} ${succeeded === 1 ? "is" : "are"} back.`, { tone: failed.length ? "warn" : "ok" });
    clear();
    done();
  }
  async function undo() {
    if (await undoing.run(result.operations)) {
      say("Undone: the records are as they were before.");
      setResult(null);
      done();
    }
  }
  if (!many_ && !result) return html`<div class="act" role="region" aria-label="What will happen"><p class="soft">${kind === "only_live" ? "Records that are new since the backup stay as they are." : "Choose records or single fields to bring them back."}</p></div>`;
  const partial = [...chosen.values()].filter(Boolean);
  const fields = partial.length === many_ ? partial.reduce((sum, each) => sum + each.length, 0) : 0;
  const what = fields ? many(fields, "field") : many(many_, "record");
  return html`<div class="act" role="region" aria-label="What will happen"><div class="push">${many_ > 0 ? html`<p class="strong">${kind === "only_in_backup" ? `${many(many_, "record")} of ${entity.name} will be created again as in the backup.` : `${many(many_, "record")} of ${entity.name} will be changed${fields ? `, ${many(fields, "field")} in all` : " to what the backup holds"}.`} Nothing is deleted.</p>
      <p class="soft">One operation, which you can undo. A record whose parent is in the trash or gone stays away: bring the parent back first.${kind === "only_in_backup" ? html` <label class="check"><input type="checkbox" checked=${rename} onChange=${(event) => setRename(event.target.checked)} />Rename where the name is taken</label>` : ""}</p>`
    : html`<p class="strong">${many(result.succeeded, "record")} ${result.succeeded === 1 ? "is" : "are"} back.</p>${result.failed.length > 0 && html`<p class="warn">${number(result.failed.length)} not: ${plain(result.failed[0].error ?? result.failed[0].code)}</p>`}`}
      <${Failure} error=${action.error ?? undoing.error} /></div>
    <div class="buttons">${many_ > 0 ? html`<${Button} onClick=${clear}>Clear<//><${Button} kind="primary" busy=${action.busy} onClick=${bring}>${action.busy ? "Bringing back…" : `Bring back ${what}`}<//>`
    : html`<${Button} onClick=${() => setResult(null)}>Dismiss<//>${result.operations.length > 0 && html`<${Button} kind="primary" busy=${undoing.busy} onClick=${undo}>${undoing.busy ? "Undoing…" : "Undo"}<//>`}`}</div></div>`;
}
