/* A started import: how far it is, what became of its rows, the three files that tell it. */
import { read } from "../../lib/api.js";
import { many, number } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { to } from "../../lib/router.js";
import { html } from "../../lib/ui.js";
import { Button, Failure, Loading } from "../../parts/basics.js";
import { Status } from "../../parts/Status.js";
import { Progress } from "../runs/RunTable.js";
import { Why } from "../runs/Why.js";

const FILES = { successful: "Imported rows", failed: "Refused rows, with reasons", unprocessed: "Rows not reached" };

export function ImportRun({ id, again }) {
  const live = useLive((signal) => read(`/api/jobs/${id}`, {}, { signal }), [id], { isBusy: ({ data }) => ["pending", "running"].includes(data.status) });
  const job = live.data?.data;
  if (!job) return html`<div class="card"><${Failure} error=${live.error} retry=${live.reload} />${!live.error && html`<${Loading} what="the import" rows=${3} />`}</div>`;
  const done = !["pending", "running"].includes(job.status);
  const result = job.result ?? {};
  return html`<div class="card in stack"><div class="line"><${Status} job=${job} /></div>
    ${!done && html`<p class="soft">${job.progress.message}</p><${Progress} job=${job} most=${4} />`}
    ${job.status === "failed" && html`<${Why} job=${job} />`}
    ${result.total !== undefined && html`<dl class="kv"><dt>Rows</dt><dd>${number(result.total)}</dd><dt>Created</dt><dd>${number(result.created)}</dd>${result.updated ? html`<dt>Changed</dt><dd>${number(result.updated)}</dd>` : ""}${result.skipped ? html`<dt>Left as they are</dt><dd>${number(result.skipped)}</dd>` : ""}<dt>Refused</dt><dd>${number(result.failed)}</dd></dl>`}
    ${result.failed > 0 && html`<p>Mend the refused rows in their own file and import that file again; the others are done.</p>`}
    <div class="buttons">${Object.entries(FILES).filter(([name]) => result.files?.[name]).map(([name, words]) => html`<a class="btn" download href=${result.files[name]}>${words}</a>`)}
      <span class="push"></span><a class="btn" href=${to("/runs", { run: id })}>See the run</a>${done && html`<${Button} onClick=${again}>Import another file<//>`}</div>
    ${done && job.status === "completed" && html`<p class="unseen" role="status">${many(result.succeeded ?? 0, "row")} imported.</p>`}</div>`;
}
