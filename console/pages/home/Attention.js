/* What needs attention, worst first; what to do stands in the problem's own line. */
import { many, number, plain, relative } from "../../lib/format.js";
import { read } from "../../lib/api.js";
import { useKeys } from "../../lib/keys.js";
import { useLive } from "../../lib/poll.js";
import { go, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Empty, Failure, Loading } from "../../parts/basics.js";
import { Icon } from "../../parts/Icon.js";
import { wordsOf } from "../../words/attention.js";
import { backUp, retry } from "../runs/actions.js";

const MOST = 9;

/** Tenants at risk as entries, but for those that are among the server's own already. */
function atRisk(rows, told) {
  const named = new Set(told.map((entry) => entry.tenant));
  return rows.filter((row) => !named.has(row.project_id)).map((row) => ({
    kind: "at_risk", severity: "error", tenant: row.project_id, facts: row, actions: [row.last_failure ? "retry" : "back_up"],
  }));
}

export function Attention({ live, stats }) {
  const [all, setAll] = useState(false);
  const risk = useLive((signal) => read("/api/backup/protection", { state: "at_risk", limit: 50 }, { signal }), [], { every: 60_000 });
  const told = live.data?.data ?? [];
  const entries = [...told.filter((entry) => entry.severity === "error"), ...atRisk(risk.data?.data ?? [], told), ...told.filter((entry) => entry.severity !== "error")];
  const reload = () => { live.reload(); risk.reload(); };
  const shown = all ? entries : entries.slice(0, MOST);
  const open = (n) => () => { const href = entries[n] && linkOf(entries[n]); if (href) go(href); };
  useKeys(Object.fromEntries(Array.from({ length: MOST }, (_, n) => [String(n + 1), open(n)])), [live.data]);
  const lastProblem = stats?.days.findLast((day) => day.failed)?.day;
  return html`<section class="card" aria-labelledby="attention"><header><h2 id="attention">Needs attention</h2><span class="dim">${entries.length ? number(Math.max(entries.length, risk.data?.pagination.total ?? 0)) : ""}</span></header>
    <${Failure} error=${live.error ?? risk.error} at=${live.at} retry=${reload} />
    ${!(live.data && risk.data) && !live.error && !risk.error && html`<${Loading} what="what needs attention" rows=${3} />`}
    ${live.data && risk.data && !entries.length && html`<${Empty}>Nothing needs attention.${lastProblem ? ` Last failed run: ${relative(`${lastProblem}T12:00:00Z`)}.` : ""}<//>`}
    <ul class="todo">${shown.map((entry) => html`<${Problem} entry=${entry} done=${reload} />`)}</ul>
    ${entries.length > shown.length && html`<p class="in"><button type="button" class="link" onClick=${() => setAll(true)}>Show ${many(entries.length - shown.length, "more problem")}</button></p>`}</section>`;
}

function linkOf(entry) {
  const { href, run } = wordsOf(entry);
  return run ? to("/runs", { run }) : href;
}

function Problem({ entry, done }) {
  const { title, text, run } = wordsOf(entry);
  const bad = entry.severity === "error";
  const actions = new Set(entry.actions ?? []);
  const href = linkOf(entry);
  const again = run && actions.has("retry");
  const now = ["back_up", "backup", "back_up_now"].some((each) => actions.has(each)) && may("admin");
  return html`<li><${Icon} name=${bad ? "bad" : "warn"} tone=${bad ? "bad" : "warn"} label=${bad ? "Red" : "Amber"} />
    <div><b>${plain(title)}</b><p>${plain(text)}</p></div>
    <div class="buttons">${href && html`<a class="btn small ${bad && !now ? "primary" : ""}" href=${href}>${run ? "See the fix" : "See"}</a>`}
      ${again && may("operator") && html`<${Button} small onClick=${() => retry({ id: run, project_id: entry.tenant }).then(done)}>Retry<//>`}
      ${now && html`<${Button} small kind=${bad ? "primary" : ""} onClick=${() => backUp(entry.tenant).then(done)}>Back up now<//>`}</div></li>`;
}
