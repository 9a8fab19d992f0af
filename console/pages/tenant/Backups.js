/* The backups of a tenant on a calendar of five weeks: a mark a day; arrows move, a day opens its backups. */
import { read } from "../../lib/api.js";
import { bytes, date, many, number, span, time } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { to } from "../../lib/router.js";
import { html, useRef, useState } from "../../lib/ui.js";
import { Empty, Failure, Loading } from "../../parts/basics.js";
import { Icon } from "../../parts/Icon.js";
import { Mark } from "../../parts/Status.js";
import { Evidence } from "../runs/RunFacts.js";

const WEEKS = 5, DAY = 86_400_000;
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const keyOf = (moment) => new Date(moment).toISOString().slice(0, 10);

/** The worst and best of a day: proved, made but not proved, failed. */
export function markOf(backups) {
  if (backups.some((each) => each.verification?.ok)) return { icon: "ok", tone: "ok", word: "Verified" };
  if (backups.some((each) => ["completed", "expired"].includes(each.status))) return { icon: "disc", tone: "idle", word: "Not verified" };
  if (backups.some((each) => each.status === "failed")) return { icon: "bad", tone: "bad", word: "Failed" };
  return { icon: "stop", tone: "idle", word: "Cancelled" };
}

export function Backups({ tenant }) {
  const live = useLive((signal) => read("/api/backup", { project_id: tenant, limit: 100 }, { signal }), [tenant]);
  const [chosen, setChosen] = useState(null);
  const grid = useRef(null);
  const all = live.data?.data ?? [];
  const byDay = Map.groupBy(all, (each) => keyOf(each.created_at));
  const today = new Date(keyOf(Date.now()));
  const begin = today.getTime() - (((today.getUTCDay() + 6) % 7) + (WEEKS - 1) * 7) * DAY;
  const days = Array.from({ length: WEEKS * 7 }, (_, n) => keyOf(begin + n * DAY)).filter((day) => day <= keyOf(Date.now()));
  function move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...grid.current.querySelectorAll("[data-day]")];
    const places = days.map((day) => buttons.find((each) => each.dataset.day === day));
    for (let n = days.indexOf(event.target.dataset.day) + step; n >= 0 && n < days.length; n += step) {
      if (places[n]) { places[n].focus(); return; }
    }
  }
  const shown = (chosen && byDay.get(chosen)) || all.slice(0, 12);
  return html`<${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what="backups" /></div>`}
    ${live.data && !all.length && html`<div class="card"><${Empty} title="No backup yet">Each appears here with its evidence.<//></div>`}
    ${all.length > 0 && html`<div class="beside reverse"><section class="card in" aria-label="Calendar"><div class="calendar" ref=${grid} onKeyDown=${move}>${WEEKDAYS.map((day) => html`<span aria-hidden="true">${day}</span>`)}
        ${days.map((day) => { const found = byDay.get(day); const mark = found && markOf(found); return found
          ? html`<button type="button" data-day=${day} class=${chosen === day ? "on" : ""} aria-pressed=${chosen === day ? "true" : "false"} aria-label=${`${date(day)}: ${many(found.length, "backup")}, ${mark.word}`} onClick=${() => setChosen(chosen === day ? null : day)}><${Icon} name=${mark.icon} tone=${mark.tone} size=${14} />${Number(day.slice(8))}</button>`
          : html`<div class="none">${Number(day.slice(8))}</div>`; })}</div></section>
      <section class="card" aria-label="Backups"><header><h2>${chosen ? date(chosen) : "Newest backups"}</h2><span class="dim">${number(shown.length)}</span></header>
        <ul class="todo">${shown.map((each) => html`<li key=${each.id}><${Icon} name=${markOf([each]).icon} tone=${markOf([each]).tone} />
          <div><a class="strong" href=${to("/runs", { tenant, run: each.job_id })}>${date(each.created_at)}, ${time(each.created_at)} UTC</a><p>${each.status === "completed" ? html`${bytes(each.size_bytes)}, ${number(each.rows)} rows, ${span(each.duration_ms)}` : each.status}</p></div>
          <span class="soft meta">${each.status === "completed" && (each.verification ? html`<${Evidence} verification=${each.verification} />` : html`<${Mark} mark=${markOf([each])} size=${12} />`)}</span></li>`)}</ul></section></div>`}`;
}
