/* Every run of every tenant, newest first; a row opens its panel, the address holds both. */
import { read } from "../../lib/api.js";
import { many, number } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { useLive } from "../../lib/poll.js";
import { go, requery, to } from "../../lib/router.js";
import { announce } from "../../lib/store.js";
import { html, useEffect, useMemo, useRef, useState } from "../../lib/ui.js";
import { Button, Empty, Failure, Loading } from "../../parts/basics.js";
import { can, cancel, retry } from "./actions.js";
import { BulkBar } from "./BulkBar.js";
import { filtersOf, RunFilters } from "./RunFilters.js";
import { RunPanel } from "./RunPanel.js";
import { RunTable } from "./RunTable.js";

const PAGE = 50;
const isBusy = (answer) => answer.data.some((job) => ["pending", "running"].includes(job.status));

export function Runs({ query }) {
  const asked = filtersOf(query);
  const filters = JSON.stringify(asked);
  const live = useLive((signal) => read("/api/jobs", { ...asked, limit: PAGE }, { signal }), [filters], { isBusy });
  const [older, setOlder] = useState({ rows: [], cursor: undefined, busy: false, error: null });
  const [shownIds, setShownIds] = useState(null);
  const [chosen, setChosen] = useState(new Set());
  const [at, setAt] = useState(-1);
  const [scrolled, setScrolled] = useState(false);
  const list = useRef(null);
  const pinned = Boolean(query.run) || chosen.size > 0 || scrolled;
  useEffect(() => {
    setOlder({ rows: [], cursor: undefined, busy: false, error: null });
    setShownIds(null);
    setChosen(new Set());
  }, [filters]);
  useEffect(() => {
    if (live.data && (!pinned || shownIds === null)) setShownIds(new Set(live.data.data.map((job) => job.id)));
  }, [live.data, pinned]);
  const fresh = live.data?.data ?? [];
  const first = shownIds ? fresh.filter((job) => shownIds.has(job.id)) : fresh;
  const waiting = fresh.length - first.length;
  const rows = useMemo(() => {
    const known = new Set(first.map((job) => job.id));
    return [...first, ...older.rows.filter((job) => !known.has(job.id))];
  }, [live.data, shownIds, older.rows]);
  const cursor = older.cursor === undefined ? live.data?.next_cursor : older.cursor;
  async function more() {
    if (older.busy) return;
    setOlder({ ...older, busy: true, error: null });
    try {
      const answer = await read("/api/jobs", { ...asked, limit: PAGE, cursor });
      setOlder({ rows: [...older.rows, ...(older.rows.length ? [] : first.slice(PAGE)), ...answer.data], cursor: answer.next_cursor, busy: false, error: null });
      announce(`${many(answer.data.length, "older run")} shown.`);
    } catch (error) {
      setOlder({ ...older, busy: false, error });
    }
  }
  const open = (job) => go(to("/runs", { ...query, run: job.id }), { replace: Boolean(query.run) });
  const close = () => {
    const row = query.run;
    requery({ run: null }, { replace: false });
    setTimeout(() => document.querySelector(`[data-run="${CSS.escape(row)}"]`)?.focus(), 50);
  };
  function choose(job, range = false) {
    const next = new Set(chosen);
    const here = rows.indexOf(job);
    if (range && at >= 0) rows.slice(Math.min(at, here), Math.max(at, here) + 1).forEach((each) => next.add(each.id));
    else if (!next.delete(job.id)) next.add(job.id);
    setAt(here);
    setChosen(next);
  }
  function move(step) {
    const next = Math.max(0, Math.min(rows.length - 1, at + step));
    setAt(next);
    list.current?.querySelectorAll("a.row")[next]?.focus();
  }
  const current = rows.findIndex((job) => job.id === query.run);
  const neighbour = (step) => rows[current + step] && open(rows[current + step]);
  const target = current >= 0 ? rows[current] : rows[at];
  useKeys({
    j: () => move(1), k: () => move(-1), x: () => rows[at] && choose(rows[at]), "Shift x": () => rows[at] && choose(rows[at], true),
    "[": () => neighbour(-1), "]": () => neighbour(1),
    r: () => target && can(target, "retry") && retry(target).then(live.reload),
    c: () => target && can(target, "cancel") && cancel(target).then(live.reload),
    d: () => document.querySelector(".panel [data-download]")?.click(),
    Escape: () => (query.run ? close() : setChosen(new Set())),
  }, [rows, at, chosen, query.run]);
  const total = live.data?.total;
  return html`<div class="split ${query.run ? "has-panel" : ""}"><section class="list-side" ref=${list} aria-label="Runs"
      onScroll=${(event) => setScrolled(event.currentTarget.scrollTop > 40)}>
    <div class="head"><h1>Runs</h1>${total !== null && total !== undefined && html`<span class="dim">${number(total)}</span>`}</div>
    <${RunFilters} query=${query} />
    ${waiting > 0 && html`<div class="notice" role="status"><p>${many(waiting, "new run")}.</p><${Button} small onClick=${() => setShownIds(new Set(fresh.map((job) => job.id)))}>Show ${waiting === 1 ? "it" : "them"}<//></div>`}
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    <${BulkBar} chosen=${chosen} rows=${rows} query=${asked} total=${total} done=${() => { setChosen(new Set()); live.reload(); }} clear=${() => setChosen(new Set())} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="runs" rows=${10} /></div>`}
    ${live.data && rows.length > 0 && html`<${RunTable} rows=${rows} chosen=${chosen} choose=${choose} setChosen=${setChosen} open=${query.run} query=${query} total=${total} />`}
    ${live.data && rows.length === 0 && html`<div class="card"><${NoRun} query=${query} /></div>`}
    <${Failure} error=${older.error} retry=${more} />
    ${cursor && html`<div class="buttons more"><${Button} onClick=${more} busy=${older.busy}>${older.busy ? "Loading older runs…" : "Show older runs"}<//></div>`}
  </section>
  ${query.run && html`<${RunPanel} id=${query.run} key=${query.run} listed=${rows[current]} close=${close} changed=${live.reload} neighbour=${neighbour} />`}</div>`;
}

function NoRun({ query }) {
  const filtered = Object.keys(filtersOf(query)).length > 0;
  if (!filtered) return html`<${Empty} title="No run yet">Runs appear here as soon as somebody exports, imports or backs up.<//>`;
  return html`<${Empty} title="No run matches"><span class="buttons center">${query.since && html`<${Button} small onClick=${() => requery({ since: null })}>Remove time<//>`}
    <a class="btn small" href=${to("/runs")}>Remove all filters</a></span><//>`;
}
