/* Restore a backup: which, how, what will happen, and for the whole in place the tenant's slug typed first. */
import { change, read } from "../../lib/api.js";
import { bytes, date, many, number, plain, time } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { go, to } from "../../lib/router.js";
import { get, may } from "../../lib/store.js";
import { html, useRef, useState } from "../../lib/ui.js";
import { Empty, Failure, Loading, Name, useAction } from "../../parts/basics.js";
import { Evidence } from "../runs/RunFacts.js";
import { verify } from "../runs/actions.js";

const WAYS = {
  records: ["Single records", "Compare the backup with today, choose records or fields, bring them back. Nothing else changes."],
  tables: ["Some tables, beside", "The chosen tables in a new schema beside the live one. Nothing of the tenant changes."],
  beside: ["All, beside", "The whole backup in a new schema beside the live one. Nothing of the tenant changes."],
  in_place: ["All, in place", "The backup takes the place of everything that the tenant has now. The state of now is kept for 7 days."],
};

export function Restore({ backup: id }) {
  const live = useLive((signal) => read(`/api/backup/${id}`, {}, { signal }), [id], { every: 0 });
  const list = html`<a class="btn small" href=${to("/tenants")}>All tenants</a>`;
  if (!may("admin")) return html`<h1>Restore</h1><${Empty}>This needs the role admin.<//>`;
  if (!live.data) return html`<h1>Restore</h1><${Failure} error=${live.error} retry=${live.reload} all=${list} />${!live.error && html`<${Loading} what="the backup" />`}`;
  return html`<${Form} backup=${live.data.data} reload=${live.reload} key=${id} />`;
}

function Form({ backup, reload }) {
  const tenant = backup.project_id;
  const slug = get().tenants.find((each) => each.id === tenant)?.slug ?? tenant;
  const others = useLive((signal) => read("/api/backup", { project_id: tenant, status: "completed", limit: 100 }, { signal }), [tenant], { every: 0 });
  const [way, setWay] = useState("records");
  const [tables, setTables] = useState([]);
  const [typed, setTyped] = useState("");
  const key = useRef(crypto.randomUUID());
  const known = Object.keys(backup.manifest?.contents?.rows ?? {});
  const moment = `${date(backup.created_at)}, ${time(backup.created_at)} UTC`;
  const ready = way === "records" || way === "beside" || (way === "tables" && tables.length > 0) || (way === "in_place" && typed === slug);
  const start = useAction(async () => {
    if (way === "records") return change("POST", `/api/backup/${backup.id}/compare`, {}, { key: key.current });
    const body = { project_id: tenant, backup_id: backup.id, mode: way === "in_place" ? "in_place" : "new_schema", ...(way === "tables" ? { tables } : {}), ...(way === "in_place" ? { confirm: typed } : {}) };
    return change("POST", "/api/backup/restore", body, { key: key.current });
  });
  async function submit(event) {
    event.preventDefault();
    if (!ready) return;
    // After no answer, or none that says no, the same key is sent again: trying again cannot do it twice.
    if (start.error?.status >= 400 && start.error.status < 500) key.current = crypto.randomUUID();
    const made = await start.run();
    if (!made) return;
    go(way === "records" ? to(`/compare/${made.data.id}`) : to("/runs", { run: made.data.id }));
  }
  const name = plain(tenant);
  const yes = { records: "Compare", tables: `Restore ${many(tables.length, "table")} beside`, beside: "Restore beside", in_place: `Replace ${name}'s data` }[way];
  return html`<div class="narrow"><p class="meta"><a href=${to("/tenants")}>Tenants</a> / <a href=${to(`/tenants/${tenant}`)}><${Name} of=${tenant} /></a></p><h1>Restore <${Name} of=${tenant} /></h1>
    <form class="stack" onSubmit=${submit}>
    <section class="card in stack" aria-labelledby="r-which"><h2 id="r-which">1. Which backup</h2><select class="input" aria-label="Backup" onChange=${(event) => go(to(`/restore/${event.target.value}`), { replace: true })}>${(others.data?.data.filter((each) => each.type === "database") ?? [backup]).map((each) => html`<option value=${each.id} selected=${each.id === backup.id}>${date(each.created_at)}, ${time(each.created_at)} UTC, ${bytes(each.size_bytes)}${each.verification?.ok ? ", verified" : ""}</option>`)}</select>
      <dl class="kv"><dt>Holds</dt><dd>${number(backup.rows)} rows in ${many(backup.tables ?? known.length, "table")}, ${bytes(backup.size_bytes)}</dd><dt>Evidence</dt><dd><${Evidence} verification=${backup.verification} /></dd></dl>
      ${!backup.verification && html`<div class="notice warn-ground"><p>Nobody has proved that this backup restores.</p><button type="button" class="btn small" onClick=${() => verify({ id: backup.id, project_id: tenant }).then(reload)}>Verify first</button></div>`}</section>
    <fieldset class="card in stack"><legend class="unseen">How</legend><h2>2. How</h2>${Object.entries(WAYS).map(([value, [word, what]]) => html`<label class="way"><input type="radio" name="way" disabled=${value === "tables" && backup.format === "sql"} checked=${way === value} onChange=${() => setWay(value)} /><span><b>${word}</b><br /><span class="soft">${value === "tables" && backup.format === "sql" ? "Not from a plain SQL dump, in which tables cannot be told apart safely; backups as tar or custom can." : what}</span></span></label>`)}
      ${way === "tables" && html`<div class="buttons" role="group" aria-label="Tables">${known.map((table) => html`<label class="check"><input type="checkbox" checked=${tables.includes(table)} onChange=${() => setTables(tables.includes(table) ? tables.filter((each) => each !== table) : [...tables, table])} /><span class="mono">${plain(table)}</span></label>`)}</div>`}</fieldset>
    <section class="card in stack" aria-labelledby="r-what"><h2 id="r-what">3. What will happen</h2><p>${{
      records: `The backup of ${moment} is read into a place of its own and compared with what ${name} has now. Then you choose what comes back.`,
      tables: `A new schema gets ${tables.length ? tables.map(plain).join(", ") : "the tables that you choose"} as of ${moment}. ${name} goes on as it is.`,
      beside: `A new schema gets everything as of ${moment}. ${name} goes on as it is.`,
      in_place: `Everything that ${name} has now is put aside, and the state of ${moment} takes its place. What was written since then is no longer there. You can revert for 7 days.`,
    }[way]}</p>
      ${way === "in_place" && html`<label class="typed">Type <b>${slug}</b> to confirm<input class="input" autocomplete="off" spellcheck=${false} value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>`}
      <${Failure} error=${start.error} /><div class="buttons end"><button class="btn ${way === "in_place" ? "danger-fill" : "primary"}" disabled=${!ready || start.busy}>${start.busy ? "Starting…" : yes}</button></div></section></form></div>`;
}
