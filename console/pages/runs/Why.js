/* Why a run failed, and what to do about it, step by step. */
import { plain } from "../../lib/format.js";
import { to } from "../../lib/router.js";
import { get } from "../../lib/store.js";
import { html } from "../../lib/ui.js";
import { Code } from "../../parts/basics.js";
import { NO_ADVICE, REMEDIES } from "../../words/remedies.js";

export function Why({ job, timeline }) {
  const remedy = REMEDIES.get(job.error_code);
  const slug = get().tenants.find((each) => each.id === job.project_id)?.slug ?? job.project_id;
  const message = job.last_error ?? timeline?.attempts.findLast((each) => each.error)?.error ?? "";
  return html`<div class="why"><b>${remedy?.title ?? "The run failed."}</b><p>${plain(message)}</p></div>
    ${remedy ? html`<ol class="steps prose">${remedy.steps.map((step) => html`<li><div>${typeof step === "string" ? step
      : step.command ? html`<${Code} text=${step.command.replaceAll("{slug}", slug)} />` : html`<a href=${to(step.href)}>${step.text}</a>`}</div></li>`)}</ol>`
    : html`<p class="advice">${NO_ADVICE}</p>`}`;
}
