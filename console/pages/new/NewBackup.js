/* A new backup of one tenant: its options, about how large it will be. */
import { change } from "../../lib/api.js";
import { bytes, many, span } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { go, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { choose, tenantOf } from "../../lib/tenants.js";
import { html, useEffect, useRef, useState } from "../../lib/ui.js";
import { Empty, Failure, Field, useAction } from "../../parts/basics.js";
import { TenantChoice } from "../../parts/TenantChoice.js";

const DUMP_FORMATS = { sql: "SQL, readable by psql", custom: "Archive (pg_restore)", tar: "Tar" };

export function NewBackup({ query }) {
  const tenant = tenantOf(query);
  const [format, setFormat] = useState("sql");
  const [compress, setCompress] = useState(true);
  const [path, setPath] = useState("");
  const [mail, setMail] = useState("");
  const [words, setWords] = useState("Estimating…");
  const given = { project_id: tenant, format, compress, ...(path ? { storage_path: path } : {}), ...(mail ? { notify_email: mail } : {}) };
  const wanted = JSON.stringify(given);
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(() => change("POST", "/api/backup/estimate", { project_id: tenant, format, compress }, { signal: controller.signal }).then(
      ({ data }) => setWords(`About ${bytes(data.bytes)}, ${many(data.rows, "row")} in ${many(data.tables, "table")}, ${span(data.seconds * 1000)}.`),
      (error) => error.name !== "AbortError" && setWords(`No estimate: ${error.message}`)), 400);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [tenant, format, compress]);
  const key = useRef(crypto.randomUUID());
  useEffect(() => { key.current = crypto.randomUUID(); }, [wanted]);
  const start = useAction(async () => change("POST", "/api/backup/export", given, { key: key.current }));
  async function submit(event) {
    event?.preventDefault();
    const made = await start.run();
    if (made) go(to("/runs", { run: made.data.job_id }));
  }
  useKeys({ "Ctrl Enter": submit }, [wanted]);
  if (!may("admin")) return html`<h1>New backup</h1><${Empty}>This needs the role admin.<//>`;
  const wrong = Object.fromEntries((start.error?.details ?? []).map((each) => [each.field, each.message]));
  return html`<div class="narrow"><h1>New backup</h1><form class="card form" onSubmit=${submit}>
    <${Field} label="Tenant" id="tenant" wide><${TenantChoice} id="tenant" value=${tenant} onChange=${choose} /><//>
    <fieldset class="field-row wide"><legend class="label">Format</legend><div class="buttons">${Object.entries(DUMP_FORMATS).map(([value, word]) => html`<label class="check"><input type="radio" name="format" checked=${format === value} onChange=${() => setFormat(value)} />${word}</label>`)}
      <label class="check"><input type="checkbox" checked=${compress} onChange=${(event) => setCompress(event.target.checked)} />Compressed</label></div></fieldset>
    <${Field} label="Folder below the tenant's own (optional)" id="path" error=${wrong.storage_path} hint="Letters, digits, . _ / -"><input class="input" id="path" placeholder="backups" value=${path} onInput=${(event) => setPath(event.target.value)} /><//>
    <${Field} label="Tell by mail (optional)" id="mail" error=${wrong.notify_email}><input class="input" id="mail" type="email" value=${mail} onInput=${(event) => setMail(event.target.value)} /><//>
    <${Failure} error=${start.error} retry=${submit} />
    <div class="form-end"><p class="soft" role="status">${words}</p><button class="btn primary" disabled=${start.busy}>${start.busy ? "Starting…" : "Start backup"}</button></div></form></div>`;
}
