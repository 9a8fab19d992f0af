/* The records of one kind of difference, a hundred at a time. `chosen`: id → the fields that come back, null for all. */
import { read } from "../../lib/api.js";
import { many, number, plain } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { html, useEffect, useRef, useState } from "../../lib/ui.js";
import { Button, Empty, Failure, Loading, Name } from "../../parts/basics.js";

const LIMIT = 100;

export function Differences({ job, entity, kind, turn, chosen, setChosen, open, setRows, show }) {
  const [state, setState] = useState({ rows: null, cursor: null, error: null, busy: false });
  const path = `/api/backup/compare/${job.id}`;
  const asked = { entity: entity.name, kind, limit: LIMIT };
  const latest = useRef(0);
  async function load(cursor = null, before = []) {
    latest.current += 1;
    const mine = latest.current;
    setState((old) => ({ ...old, busy: true, error: null }));
    try {
      const answer = await read(path, { ...asked, cursor });
      if (mine !== latest.current) return; // another kind or entity is shown by now
      const rows = [...before, ...answer.data];
      setState({ rows, cursor: answer.next_cursor, error: null, busy: false });
      setRows(rows);
    } catch (error) {
      if (mine === latest.current) setState((old) => ({ ...old, rows: old.rows ?? [], error, busy: false }));
    }
  }
  useEffect(() => { setState({ rows: null, cursor: null, error: null, busy: false }); setRows([]); load(); }, [entity.name, kind, turn]);
  const rows = state.rows ?? [];
  const comesBack = kind !== "only_live";
  const flip = (row) => {
    const next = new Map(chosen);
    if (!next.delete(row.id)) next.set(row.id, null);
    setChosen(next);
  };
  const at = rows.findIndex((row) => row.id === open?.id);
  useKeys({ j: () => rows[at + 1] && show(rows[at + 1]), k: () => rows[at - 1] && show(rows[at - 1]), x: () => comesBack && open && flip(open) }, [rows, open, chosen, kind]);
  const all = rows.length > 0 && rows.every((row) => chosen.has(row.id));
  if (state.rows === null) return html`<${Loading} what="the differences" />`;
  return html`<${Failure} error=${state.error} retry=${() => load()} />
    ${!rows.length && !state.error && html`<${Empty}>No record of this kind.<//>`}
    <ul class="pick">${comesBack && rows.length > 0 && html`<li class="all"><label class="check"><input type="checkbox" checked=${all} onChange=${() => setChosen(all ? new Map() : new Map(rows.map((row) => [row.id, chosen.get(row.id) ?? null])))} />Choose ${state.cursor ? `these ${number(rows.length)}` : `all ${number(rows.length)}`}</label><span class="dim">${chosen.size ? `${number(chosen.size)} chosen` : ""}</span></li>`}
      ${rows.map((row) => html`<li key=${row.id} class=${open?.id === row.id ? "open" : ""}>${comesBack && html`<input type="checkbox" aria-label=${`Choose ${plain(row.label ?? row.id).slice(0, 80)}`} checked=${chosen.has(row.id)} onChange=${() => flip(row)} />`}
        <button type="button" class="plain-button" aria-current=${open?.id === row.id ? "true" : undefined} onClick=${() => show(row)}><b><${Name} of=${row.label ?? row.id} /></b><span class="dim">${kind === "changed" ? plain((row.changed_fields ?? []).join(", ")) : plain(row.id)}</span></button>
        ${kind === "changed" && html`<span class="soft meta">${many((row.changed_fields ?? []).length, "field")}</span>`}</li>`)}</ul>
    ${state.cursor && html`<div class="buttons center in"><${Button} busy=${state.busy} onClick=${() => load(state.cursor, rows)}>Show more<//></div>`}`;
}
