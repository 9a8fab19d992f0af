/* A page of records; some can be chosen, then deleted or changed at once. */
import { read } from "../../lib/api.js";
import { number, pathId, plain } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { useLive } from "../../lib/poll.js";
import { go, requery, to } from "../../lib/router.js";
import { get, may, prefer } from "../../lib/store.js";
import { html, useEffect, useRef, useState } from "../../lib/ui.js";
import { asOf, Button, Empty, Failure, Loading, Name } from "../../parts/basics.js";
import { Menu } from "../../parts/Menu.js";
import { Pages } from "../../parts/Pages.js";
import { TenantChoice } from "../../parts/TenantChoice.js";
import { RecordBulk } from "./RecordBulk.js";
import { Value } from "./Value.js";

const SHOWN = 6, LIMIT = 50;
const OWN = ["page", "sort"];

/** The fields of the table: the label first, then the first others. */
export const columnsOf = (entity) => {
  const label = entity.fields.find((field) => field.name === entity.label) ?? entity.fields[0];
  return [label, ...entity.fields.filter((field) => field !== label && field.name !== "id")].slice(0, SHOWN);
};

export function RecordTable({ tenant, entity, query }) {
  const asked = { ...query, page: query.page ?? 1, limit: LIMIT };
  const live = useLive((signal) => read(`/api/v1/${entity.name}`, asked, { tenant, signal }), [tenant, entity.name, JSON.stringify(query)], { every: 0 });
  const [chosen, setChosen] = useState(new Map());
  const [at, setAt] = useState(-1);
  const table = useRef(null);
  useEffect(() => { setChosen(new Map()); setAt(-1); }, [tenant, entity.name]);
  useEffect(() => prefer({ tenant }), [tenant]);
  const rows = live.data?.data ?? [];
  const columns = columnsOf(entity);
  const filters = Object.entries(query).filter(([name]) => !OWN.includes(name));
  const flip = (record) => {
    const next = new Map(chosen);
    if (!next.delete(record.id)) next.set(record.id, record);
    setChosen(next);
  };
  const move = (step) => {
    const next = Math.max(0, Math.min(rows.length - 1, at + step));
    setAt(next);
    table.current?.querySelectorAll("a.row")[next]?.focus();
  };
  useKeys({ j: () => move(1), k: () => move(-1), x: () => rows[at] && flip(rows[at]), Escape: () => setChosen(new Map()) }, [rows, at, chosen]);
  const whole = rows.length > 0 && rows.every((record) => chosen.has(record.id));
  return html`<div class="stack wide-page"><div class="head"><h1>Records</h1><span class="dim">${live.data ? number(live.data.pagination.total) : ""}</span><span class="push"></span>
      <span class="dim meta">${asOf(live.at)}</span><${Button} small onClick=${live.reload}>Refresh<//></div>
    <div class="filters" role="search" aria-label="Filter records"><${TenantChoice} value=${tenant} onChange=${(id) => go(to(`/records/${id}/${entity.name}`))} />
      <select class="input" aria-label="Entity" value=${entity.name} onChange=${(event) => go(to(`/records/${tenant}/${event.target.value}`))}>${get().entities.map((each) => html`<option selected=${each.name === entity.name}>${each.name}</option>`)}</select>
      <${Filters} entity=${entity} query=${query} />
      ${filters.length > 0 && html`<${Button} kind="quiet" onClick=${() => requery(Object.fromEntries(filters.map(([name]) => [name, null])))}>Clear<//>`}
      ${may("operator") && html`<a class="btn" href=${to("/new/export", { tenant, entity: entity.name })}>Export</a>`}</div>
    <${RecordBulk} tenant=${tenant} entity=${entity} chosen=${chosen} clear=${() => setChosen(new Map())} done=${live.reload} />
    <${Failure} error=${live.error} at=${live.at} retry=${live.reload} />
    ${!live.data && !live.error && html`<div class="card"><${Loading} what=${entity.name} rows=${10} /></div>`}
    ${live.data && rows.length === 0 && html`<div class="card"><${Empty} title=${filters.length ? "No record matches" : `No ${entity.name} yet`}>${filters.length ? html`<a href=${to(`/records/${tenant}/${entity.name}`)}>Remove all filters</a>` : "They appear here as soon as somebody creates or imports them."}<//></div>`}
    ${rows.length > 0 && html`<div class="card scroll-x" ref=${table} tabindex="0" role="region" aria-label="Records"><table class="table records"><thead><tr>${may("operator") && html`<th class="tight"><input type="checkbox" aria-label="Choose all of this page" checked=${whole} onChange=${() => setChosen(whole ? new Map() : new Map(rows.map((each) => [each.id, each])))} /></th>`}
      ${columns.map((field) => html`<th scope="col">${field.name}</th>`)}</tr></thead>
      <tbody>${rows.map((record) => html`<tr key=${record.id} aria-selected=${chosen.has(record.id) ? "true" : undefined}>${may("operator") && html`<td class="tight"><input type="checkbox" aria-label=${`Choose ${plain(record[entity.label] ?? record.id).slice(0, 80)}`} checked=${chosen.has(record.id)} onChange=${() => flip(record)} /></td>`}
        ${columns.map((field, n) => html`<td>${n === 0 ? html`<a class="row" href=${to(`/records/${tenant}/${entity.name}/${pathId(record.id)}`)}><${Name} of=${record[field.name] || record.id} /></a>` : html`<${Value} of=${record[field.name]} type=${field.type} />`}</td>`)}</tr>`)}</tbody></table></div>`}
    ${live.data && html`<${Pages} of=${live.data.pagination} />`}</div>`;
}

function Filters({ entity, query }) {
  const [text, setText] = useState(query.search ?? "");
  const timer = useRef(null);
  useEffect(() => setText(query.search ?? ""), [query.search]);
  const type = (event) => {
    setText(event.target.value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => requery({ search: event.target.value.trim() || null, page: null }), 300);
  };
  const listed = entity.fields.filter((field) => field.values?.length && entity.filters.includes(field.name));
  return html`${entity.filters.includes("search") && html`<input class="input" type="search" data-search aria-label="Search records" placeholder="Text" value=${text} onInput=${type} />`}
    ${listed.map((field) => html`<${Menu} label=${query[field.name] || field.name} on=${Boolean(query[field.name])} items=${[{ text: "Any", run: () => requery({ [field.name]: null, page: null }) },
      ...field.values.map((value) => ({ text: value, run: () => requery({ [field.name]: value, page: null }) }))]} />`)}
    ${Object.entries(query).filter(([name]) => !OWN.includes(name) && name !== "search" && !listed.some((field) => field.name === name)).map(([name, value]) => html`<${Button} kind="on" onClick=${() => requery({ [name]: null, page: null })}>${plain(`${name}: ${value}`).slice(0, 60)} ×<//>`)}`;
}
