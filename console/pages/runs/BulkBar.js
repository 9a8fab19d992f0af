/* What can be done with the chosen runs, or with all that the filters match. */
import { change } from "../../lib/api.js";
import { many, number } from "../../lib/format.js";
import { may, say } from "../../lib/store.js";
import { html, useState } from "../../lib/ui.js";
import { Button } from "../../parts/basics.js";
import { Confirm, Dialog } from "../../parts/Dialog.js";
import { KINDS, STATUSES } from "../../words/states.js";
import { can } from "./actions.js";

const WORDS = { retry: { yes: "Retry", done: "retried", from: ["failed", "cancelled"] }, cancel: { yes: "Cancel", done: "cancelled", from: ["pending", "running"] } };

/** The filters of the API's bulk route, or null where the list is filtered by something that it does not take. */
function bulkFilter(query) {
  const { q, trigger, until, ...filter } = query;
  return q || trigger || until ? null : filter;
}

const named = (query) => [
  query.project_id && `of ${query.project_id}`, query.type && query.type.split(",").map((each) => KINDS[each].toLowerCase()).join(" or "),
  query.status && query.status.split(",").map((each) => STATUSES[each].toLowerCase()).join(" or "), query.since && "since the chosen time",
].filter(Boolean).join(", ");

export function BulkBar({ chosen, rows, query, total, done, clear }) {
  const [asking, setAsking] = useState(null);
  const [results, setResults] = useState(null);
  if (!may("operator")) return null;
  const picked = rows.filter((job) => chosen.has(job.id));
  const open = rows.some((job) => job.actions !== undefined);
  const filter = bulkFilter(query);
  const status = query.status ?? "";
  const whole = open && filter && status && total > rows.length
    && Object.keys(WORDS).find((action) => status.split(",").every((each) => WORDS[action].from.includes(each)));
  async function run() {
    const { action, ids } = asking;
    const body = ids ? { action, ids } : { action, filter };
    const { data } = await change("POST", "/api/jobs/bulk", body);
    if (data.failed) setResults({ ...data, action });
    else say(`${many(data.succeeded, "run")} ${WORDS[action].done}.`);
    done();
    return data;
  }
  const offers = Object.keys(WORDS).map((action) => ({ action, ids: picked.filter((job) => can(job, action)).map((job) => job.id) })).filter((each) => each.ids.length);
  if (!picked.length && !whole && !results) return null;
  return html`${(picked.length > 0 || whole) && html`<div class="notice" role="region" aria-label="Chosen runs"><p>${picked.length ? `${number(picked.length)} chosen` : `${number(total)} match`}</p>
      ${open && offers.map(({ action, ids }) => html`<${Button} small onClick=${() => setAsking({ action, ids, skipped: picked.length - ids.length })}>${WORDS[action].yes} ${number(ids.length)}<//>`)}
      ${picked.length > 0 && !offers.length && html`<span class="soft">Nothing can be done with these.</span>`}
      ${whole && html`<${Button} small onClick=${() => setAsking({ action: whole })}>${WORDS[whole].yes} all ${number(total)} that match<//>`}
      <span class="push"></span>${picked.length > 0 && html`<${Button} small kind="quiet" onClick=${clear}>Choose none<//>`}</div>`}
    ${asking && html`<${Confirm} title=${`${WORDS[asking.action].yes} ${asking.ids ? many(asking.ids.length, "run") : `all ${number(total)} runs that match`}?`}
      yes=${WORDS[asking.action].yes} danger=${asking.action === "cancel"} work=${run} onClose=${() => setAsking(null)}>
      <p>${asking.ids ? "The chosen runs." : `Every run that the filters match: ${named(query)}.`} ${asking.skipped ? `${many(asking.skipped, "chosen run")} cannot be ${WORDS[asking.action].done} and will be left.` : ""}</p><//>`}
    ${results && html`<${Dialog} title=${`${number(results.succeeded)} ${WORDS[results.action].done}, ${number(results.failed)} not`} onClose=${() => setResults(null)}>
      <ul class="results">${results.results.filter((each) => each.code || each.status === "error").slice(0, 100).map((each) => html`<li><span class="mono">${each.id}</span> <span class="bad">${each.code}</span></li>`)}</ul>
      <div class="buttons end"><${Button} onClick=${() => setResults(null)}>Close<//></div><//>`}`;
}
