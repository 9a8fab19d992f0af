/* A file, dropped or chosen: its columns are guessed, it is uploaded, started, and its run watched here. */
import { change, upload } from "../../lib/api.js";
import { bytes, percent } from "../../lib/format.js";
import { guess, readHeader, typeOf } from "../../lib/header.js";
import { announce, get, may } from "../../lib/store.js";
import { choose, entityOf, tenantOf } from "../../lib/tenants.js";
import { html, useRef, useState } from "../../lib/ui.js";
import { Button, Empty, Failure, Field, Meter, useAction } from "../../parts/basics.js";
import { TenantChoice } from "../../parts/TenantChoice.js";
import { ImportRun } from "./ImportRun.js";
import { Mapping } from "./Mapping.js";

const MOST = 5 * 1024 ** 3;
const CONFLICTS = { fail: "Refuse the row", skip: "Leave the record as it is", update: "Change the record" };

export function Import({ query }) {
  const tenant = tenantOf(query);
  const known = (get().entities ?? []).filter((each) => !each.readOnly);
  const [entity, setEntity] = useState(known.some((each) => each.name === query.entity) ? query.entity : known[0]?.name);
  const [file, setFile] = useState(null);
  const [wrong, setWrong] = useState("");
  const [over, setOver] = useState(false);
  const [conflict, setConflict] = useState("fail");
  const [sent, setSent] = useState(null);
  const [job, setJob] = useState(null);
  const input = useRef(null);
  const fields = fieldsOf(entity);
  async function take(chosen, of = entity) {
    if (!chosen) return;
    setWrong("");
    const type = typeOf(chosen.name);
    if (!type) return setWrong("Drop a file of CSV, NDJSON or Excel (.csv, .ndjson, .xlsx).");
    if (chosen.size > MOST) return setWrong("A file may have 5 GB.");
    try {
      const header = await readHeader(chosen, type);
      setFile({ chosen, type, ...header, mapping: guess(header.names, fieldsOf(of)) });
      announce(`${header.names.length} columns found.`);
    } catch (error) {
      setFile(null);
      setWrong(error.message);
    }
    return undefined;
  }
  const start = useAction(async () => {
    const { chosen, type, names, mapping, delimiter } = file;
    const named = Object.fromEntries(names.map((name, n) => [name, mapping[n]]).filter(([name, field]) => field !== name));
    const body = { filename: chosen.name.slice(-120), size: chosen.size, type, onConflict: conflict, ...(Object.keys(named).length ? { mapping: named } : {}), ...(type === "csv" && delimiter !== "," ? { delimiter } : {}) };
    const path = `/api/v1/import/${entity}/file`;
    const { data } = await change("POST", path, body, { tenant });
    setSent(0);
    await upload(data.upload, chosen, setSent);
    const started = await change("POST", `${path}/${data.id}/start`, {}, { tenant });
    setJob((started.data.data ?? started.data).id ?? data.id);
    return true;
  });
  const again = () => { setFile(null); setJob(null); setSent(null); start.clear(); };
  async function submit(event) {
    event.preventDefault();
    if (!(await start.run())) setSent(null);
  }
  if (!may("operator")) return html`<h1>Import</h1><${Empty}>This needs the role operator.<//>`;
  if (job) return html`<div class="narrow"><h1>Import into ${entity}</h1><${ImportRun} id=${job} again=${again} /></div>`;
  const drop = {
    onDragOver: (event) => { event.preventDefault(); setOver(true); }, onDragLeave: () => setOver(false),
    onDrop: (event) => { event.preventDefault(); setOver(false); take(event.dataTransfer.files[0]); },
  };
  const missing = fields.filter((field) => entityOf(entity)?.fields.find((each) => each.name === field)?.required && !file?.mapping.includes(field));
  return html`<div class="narrow"><h1>Import</h1><form class="card form" onSubmit=${submit}>
    <${Field} label="Tenant" id="tenant"><${TenantChoice} id="tenant" value=${tenant} onChange=${choose} /><//>
    <${Field} label="Into" id="entity" hint=${entityOf(entity)?.description}><select class="input" id="entity" value=${entity} onChange=${(event) => { setEntity(event.target.value); take(file?.chosen, event.target.value); }}>${known.map((each) => html`<option selected=${each.name === entity}>${each.name}</option>`)}</select><//>
    <div class="drop wide ${over ? "over-it" : ""}" ...${drop}><p>${file ? html`<b><bdi>${file.chosen.name}</bdi></b>, ${bytes(file.chosen.size)}` : "Drop a file here: CSV, NDJSON or Excel, up to 5 GB."}</p>
      <${Button} onClick=${() => input.current.click()}>${file ? "Another file" : "Choose a file"}<//>
      <input class="unseen" type="file" tabindex="-1" aria-label="File" accept=".csv,.tsv,.txt,.ndjson,.jsonl,.xlsx" ref=${input} onChange=${(event) => take(event.target.files[0])} /></div>
    ${wrong && html`<div class="notice bad-ground wide" role="alert"><p>${wrong}</p></div>`}
    ${file && html`<${Mapping} file=${file} fields=${fields} change=${(mapping) => setFile({ ...file, mapping })} />
      <fieldset class="field-row wide"><legend class="label">If there is such a record already</legend><div class="buttons">${Object.entries(CONFLICTS).map(([value, word]) => html`<label class="check"><input type="radio" name="conflict" checked=${conflict === value} onChange=${() => setConflict(value)} />${word}</label>`)}</div></fieldset>`}
    <${Failure} error=${start.error} />
    ${file && html`<div class="form-end"><div class="soft" role="status">${sent !== null ? html`Sending: ${percent(sent, 0)} of ${bytes(file.chosen.size)} <${Meter} share=${sent} words=${percent(sent, 0)} />` : missing.length ? `No column for ${missing.join(", ")}, which every record needs.` : "Rows that cannot be imported come back as a file, each with its reason."}</div>
      <button class="btn primary" disabled=${start.busy}>${start.busy ? "Sending…" : "Start import"}</button></div>`}
  </form></div>`;
}

const fieldsOf = (name) => entityOf(name)?.fields.map((each) => each.name) ?? [];
