/* How things stand: how many tenants have a verified backup in time. */
import { many, number, relative } from "../../lib/format.js";
import { to } from "../../lib/router.js";
import { get } from "../../lib/store.js";
import { html } from "../../lib/ui.js";
import { Failure, Time } from "../../parts/basics.js";
import { Protection } from "../../parts/Status.js";

const STALE = 5 * 60_000;

/** One true sentence from the fleet's counts; tenants that are paused are named apart. */
export function sentence({ safe = 0, soon_due: soon = 0, at_risk: risk = 0, paused = 0 }) {
  const judged = safe + soon + risk;
  if (!judged) return paused ? `Backups of all ${many(paused, "tenant")} are paused.` : "No tenant yet.";
  const good = safe + soon;
  const rest = paused ? ` ${many(paused, "other is", "others are")} paused.` : "";
  if (!risk) return `${judged === 1 ? "The only tenant has" : `All ${number(judged)} tenants have`} a verified backup younger than ${judged === 1 ? "its" : "their"} schedule allows.${rest}`;
  return `${number(good)} of ${many(judged, "tenant")} ${good === 1 ? "has" : "have"} a verified backup younger than ${judged === 1 ? "its" : "their"} schedule allows. ${number(risk)} ${risk === 1 ? "does" : "do"} not.${rest}`;
}

function lastNight(night) {
  if (!night || !night.due) return "";
  const parts = [`${number(night.due)} due`, `${number(night.verified)} verified`, night.unverified && `${number(night.unverified)} not verified yet`, night.failed && `${number(night.failed)} failed`, night.missed && `${number(night.missed)} did not run`].filter(Boolean);
  return `Last night: ${parts.join(", ")}.`;
}

export function Say({ live }) {
  const stats = live.data?.data;
  const fleet = stats?.tenants;
  const counted = fleet?.at_risk !== undefined;
  const stale = live.at && Date.now() - live.at > STALE;
  const all = get().tenants.length;
  if (!counted) {
    return html`<section class="say ${stale ? "stale" : ""}"><h1>${live.loading && !live.at ? "Counting what is safe…" : `${many(all, "tenant")} in your care.`}</h1><${Failure} error=${live.error} at=${live.at} retry=${live.reload} /></section>`;
  }
  const marks = [["at_risk", "at risk"], ["soon_due", "soon due"], ["safe", "safe"], ["paused", "paused"]].filter(([state]) => fleet[state]);
  const bars = [["safe", "ok"], ["soon_due", "warn"], ["at_risk", "bad"], ["paused", "idle"]].filter(([state]) => fleet[state]);
  const spoken = marks.map(([state, words]) => `${number(fleet[state])} ${words}`).join(", ");
  return html`<section class="say ${stale ? "stale" : ""}" aria-labelledby="say"><h1 id="say">${sentence(fleet)}</h1>
    <p>${lastNight(stats.last_night)} ${live.at && `Everything below was checked ${relative(live.at)}.`}</p>
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    <div class="fleet"><div class="bar" role="img" aria-label=${spoken}>${bars.map(([state, tone]) => html`<i class="back-${tone}" style=${{ flexGrow: fleet[state] }}></i>`)}</div>
      ${marks.map(([state, words]) => html`<a href=${to("/tenants", { state })}><${Protection} state=${state} words=${`${number(fleet[state])} ${words}`} /></a>`)}
      ${stats.last_verified && html`<span class="dim">Newest verified backup: <${Time} at=${stats.last_verified.completed_at} /></span>`}</div></section>`;
}
