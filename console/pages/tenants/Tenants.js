/* Every tenant's protection at a glance, those at risk first; ten thousand rows without a stutter. */
import { read } from "../../lib/api.js";
import { many, number } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { useLive } from "../../lib/poll.js";
import { requery, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { html, useEffect, useRef, useState } from "../../lib/ui.js";
import { Empty, Failure, Loading, Name, Time } from "../../parts/basics.js";
import { Mark, Protection } from "../../parts/Status.js";
import { Sparkline } from "../../parts/Sparkline.js";
import { VirtualRows } from "../../parts/VirtualRows.js";
import { age } from "../../words/protection.js";
import { backUp } from "../runs/actions.js";

const PAGE = 100, EVERY = 60_000;
const STATES = { at_risk: "At risk", soon_due: "Soon due", safe: "Safe", paused: "Paused" };
const COLUMNS = [["state", "State"], ["name", "Tenant"], ["age", "Last verified"], ["next_run", "Next run"], ["size", "Size"], [null, "Kept in"]];
const narrow = matchMedia("(max-width: 720px)");

/** Pages of rows that have been in view, each fetched once and anew with the first one. */
function useProtection(query) {
  const asked = { state: query.state, q: query.q, sort: query.sort, limit: PAGE };
  const wanted = JSON.stringify(asked);
  const [pages, setPages] = useState({});
  const [error, setError] = useState(null);
  const coming = useRef(new Set());
  const first = useLive((signal) => read("/api/backup/protection", { ...asked, page: 1 }, { signal }), [wanted], { every: EVERY });
  useEffect(() => { setPages({}); coming.current = new Set(); }, [wanted, first.at]);
  const need = (page) => {
    if (page === 1 || pages[page] || coming.current.has(page)) return;
    coming.current.add(page);
    read("/api/backup/protection", { ...asked, page }).then(
      (answer) => { setError(null); setPages((old) => ({ ...old, [page]: answer.data })); },
      (failure) => { coming.current.delete(page); setError(failure); });
  };
  const row = (n) => { const page = Math.floor(n / PAGE) + 1; return (page === 1 ? first.data?.data : pages[page])?.[n % PAGE]; };
  return { ...first, error: first.error ?? error, total: first.data?.pagination.total ?? 0, states: first.data?.states, row, need };
}

export function Tenants({ query }) {
  const live = useProtection(query);
  const [text, setText] = useState(query.q ?? "");
  const [, drawAnew] = useState(0);
  const timer = useRef(null);
  const at = useRef(-1);
  useEffect(() => setText(query.q ?? ""), [query.q]);
  useEffect(() => {
    const look = () => drawAnew((n) => n + 1);
    narrow.addEventListener("change", look);
    return () => narrow.removeEventListener("change", look);
  }, []);
  const type = (event) => {
    setText(event.target.value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => requery({ q: event.target.value.trim() || null }), 300);
  };
  const move = (step) => {
    at.current = Math.max(0, Math.min(live.total - 1, at.current + step));
    const row = document.querySelector(`[aria-rowindex="${at.current + 2}"] a`);
    row?.focus();
    row?.scrollIntoView({ block: "nearest" });
  };
  useKeys({ j: () => move(1), k: () => move(-1), b: () => { const row = live.row(at.current); if (row && may("admin")) backUp(row.project_id); } }, [live.data]);
  const sort = query.sort ?? "state";
  const sorted = (name) => (sort === name ? "ascending" : sort === `-${name}` ? "descending" : undefined);
  const height = narrow.matches ? 60 : 40;
  return html`<div class="stack wide-page"><div class="head"><h1>Tenants</h1><span class="dim">${live.data ? number(live.total) : ""}</span></div>
    <div class="filters" role="search" aria-label="Filter tenants"><input class="input" type="search" data-search aria-label="Search tenants" placeholder="Name or id" value=${text} onInput=${type} />
      ${Object.entries(STATES).map(([state, words]) => html`<button type="button" class="btn ${query.state === state ? "on" : ""}" aria-pressed=${query.state === state ? "true" : "false"} onClick=${() => requery({ state: query.state === state ? null : state })}>${words}${live.states ? ` ${number(live.states[state])}` : ""}</button>`)}</div>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="tenants" rows=${10} /></div>`}
    ${live.data && live.total === 0 && html`<div class="card"><${Empty} title=${query.q ? html`No tenant is called “<${Name} of=${query.q} />”` : query.state ? "No tenant is in this state" : "No tenant yet"}>${query.q || query.state ? html`<a href=${to("/tenants")}>Show all tenants</a>` : "Register one; then this page says how safe it is."}<//></div>`}
    ${live.total > 0 && html`<div class="card over tenants" role="table" aria-label=${`${many(live.total, "tenant")}, sorted by ${sort}`} aria-rowcount=${live.total + 1}>
      <div role="rowgroup"><div class="t-row head-row" role="row" aria-rowindex="1">${COLUMNS.map(([name, words]) => html`<span role="columnheader" aria-sort=${name ? sorted(name) : undefined}>${name
        ? html`<button type="button" class="sorter" onClick=${() => requery({ sort: sort === name ? `-${name}` : name === "state" ? null : name })}>${words}${sorted(name) === "ascending" ? " ↑" : sorted(name) ? " ↓" : ""}</button>` : words}</span>`)}</div></div>
      <${VirtualRows} count=${live.total} height=${height} label="Tenants" seen=${(first, last) => { for (let page = Math.floor(first / PAGE) + 1; page <= Math.floor(Math.max(0, last - 1) / PAGE) + 1; page += 1) live.need(page); }}
        draw=${(n) => html`<${Row} key=${n} n=${n} row=${live.row(n)} />`} /></div>`}</div>`;
}

function Row({ n, row }) {
  if (!row) return html`<div class="t-row" role="row" aria-rowindex=${n + 2}><span role="cell" class="dim">Loading…</span></div>`;
  return html`<div class="t-row" role="row" aria-rowindex=${n + 2}><span role="cell"><${Protection} state=${row.state} /></span>
    <span role="cell" class="t-name"><a class="row" href=${to(`/tenants/${row.project_id}`)}><${Name} of=${row.name} /></a> ${row.name !== row.project_id && html`<span class="dim mono"><${Name} of=${row.project_id} /></span>`}</span>
    <span role="cell" class="t-age ${row.state === "at_risk" ? "bad" : "soft"}">${age(row)}</span>
    <span role="cell" class="soft">${row.next_run_at ? html`<${Time} at=${row.next_run_at} />` : "none"}</span>
    <span role="cell" class="t-size"><${Sparkline} values=${row.sizes} /></span>
    <span role="cell">${row.destinations.map((each) => html`<${Mark} mark=${each.status === "failing" ? { icon: "warn", tone: "warn", word: `${each.name} fails` } : each.status === "stored" ? { icon: "ok", tone: "ok", word: each.name } : { icon: "disc", tone: "idle", word: `${each.name}: nothing yet` }} size=${12} /> `)}</span></div>`;
}
