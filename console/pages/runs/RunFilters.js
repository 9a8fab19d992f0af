/* The filters of the list of runs; the address holds them. */
import { plain } from "../../lib/format.js";
import { requery, to } from "../../lib/router.js";
import { get } from "../../lib/store.js";
import { html, useEffect, useRef, useState } from "../../lib/ui.js";
import { Icon } from "../../parts/Icon.js";
import { Menu } from "../../parts/Menu.js";
import { KINDS, STATUSES } from "../../words/states.js";

const SPANS = [["1h", "Last hour", 1], ["24h", "Last 24 h", 24], ["7d", "Last 7 days", 168], ["30d", "Last 30 days", 720]];
const ASKED_FOR = { manual: "By hand", schedule: "By schedule" };

/** What the API is asked for; a span becomes the beginning of it, at the full minute so that answers can be kept. */
export function filtersOf({ tenant, type, status, trigger, since, until, q }) {
  const hours = SPANS.find(([name]) => name === since)?.[2];
  const from = hours ? new Date(Math.floor((Date.now() - hours * 3600_000) / 60_000) * 60_000).toISOString() : since;
  const given = { project_id: tenant, type, status, trigger, since: from, until, q };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

const listed = (value) => (value ? value.split(",") : []);

function Several({ name, label, words, query, most = Infinity }) {
  const chosen = listed(query[name]);
  const flip = (key) => {
    const next = chosen.includes(key) ? chosen.filter((each) => each !== key) : [...chosen, key].slice(-most);
    requery({ [name]: next.join(",") || null, run: null });
  };
  const text = chosen.length === 1 ? words[chosen[0]] ?? chosen[0] : chosen.length ? `${label}: ${chosen.length}` : label;
  return html`<${Menu} label=${text} on=${chosen.length > 0} choice
    items=${Object.entries(words).map(([key, word]) => ({ text: word, chosen: chosen.includes(key), run: () => flip(key) }))} />`;
}

export function RunFilters({ query }) {
  const [text, setText] = useState(query.q ?? "");
  const timer = useRef(null);
  useEffect(() => setText(query.q ?? ""), [query.q]);
  function type(event) {
    const value = event.target.value;
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => requery({ q: value.trim() || null, run: null }), 300);
  }
  const known = get().tenants;
  const span = SPANS.find(([name]) => name === query.since);
  const any = ["tenant", "type", "status", "trigger", "since", "until", "q"].some((name) => query[name]);
  const missing = Object.fromEntries(Object.entries(STATUSES).filter(([key]) => key !== "missed"));
  return html`<div class="filters" role="search" aria-label="Filter runs">
    <input class="input" type="search" data-search aria-label="Search runs by text" placeholder="Tenant, id or text" value=${text} onInput=${type} />
    ${known.length <= 300 ? html`<select class="input" aria-label="Tenant" value=${query.tenant ?? ""} onChange=${(event) => requery({ tenant: event.target.value || null, run: null })}>
      <option value="">All tenants</option>${known.map((each) => html`<option value=${each.id}>${plain(each.name ?? each.id)}</option>`)}</select>`
    : query.tenant && html`<button type="button" class="btn on" onClick=${() => requery({ tenant: null })}>${plain(query.tenant)}<${Icon} name="close" size=${12} label="Remove" /></button>`}
    <${Several} name="type" label="Kind" words=${KINDS} query=${query} />
    <${Several} name="status" label="Status" words=${missing} query=${query} />
    <${Several} name="trigger" label="Trigger" words=${ASKED_FOR} query=${query} most=${1} />
    <${Menu} label=${span?.[1] ?? (query.since ? "Since a time" : "Any time")} on=${Boolean(query.since)} items=${[
      { text: "Any time", run: () => requery({ since: null, until: null, run: null }) }, ...SPANS.map(([name, words]) => ({ text: words, run: () => requery({ since: name, until: null, run: null }) }))]} />
    ${any && html`<a class="btn quiet" href=${to("/runs")}>Clear</a>`}
  </div>`;
}
