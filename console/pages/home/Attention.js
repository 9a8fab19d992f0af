/* What needs attention, worst first; what to do stands in the problem's own line. */
import { many, number, plain, relative } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { go, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Empty, Failure, Loading } from "../../parts/basics.js";
import { Icon } from "../../parts/Icon.js";
import { wordsOf } from "../../words/attention.js";
import { backUp, retry } from "../runs/actions.js";

const MOST = 9;

export function Attention({ live, stats }) {
  const [all, setAll] = useState(false);
  const entries = live.data?.data ?? [];
  const shown = all ? entries : entries.slice(0, MOST);
  const open = (n) => () => { const href = entries[n] && linkOf(entries[n]); if (href) go(href); };
  useKeys(Object.fromEntries(Array.from({ length: MOST }, (_, n) => [String(n + 1), open(n)])), [live.data]);
  const lastProblem = stats?.days.findLast((day) => day.failed)?.day;
  return html`<section class="card" aria-labelledby="attention"><header><h2 id="attention">Needs attention</h2><span class="dim">${entries.length ? number(entries.length) : ""}</span></header>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<${Loading} what="what needs attention" rows=${3} />`}
    ${live.data && !entries.length && html`<${Empty}>Nothing needs attention.${lastProblem ? ` Last failed run: ${relative(`${lastProblem}T12:00:00Z`)}.` : ""}<//>`}
    <ul class="todo">${shown.map((entry) => html`<${Problem} entry=${entry} done=${live.reload} />`)}</ul>
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
