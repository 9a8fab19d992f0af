/* A new export: what, with which filters, in which format; about how large, and how many are left today. */
import { change, read } from "../../lib/api.js";
import { bytes, many, number, relative, span } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { go, to } from "../../lib/router.js";
import { get, may } from "../../lib/store.js";
import { base, choose, entityOf, tenantOf } from "../../lib/tenants.js";
import { html, useEffect, useMemo, useRef, useState } from "../../lib/ui.js";
import { Empty, Failure, Field, useAction } from "../../parts/basics.js";
import { TenantChoice } from "../../parts/TenantChoice.js";
import { FilterRows } from "./FilterRows.js";

const FORMATS = { csv: "CSV", json: "JSON", ndjson: "NDJSON", xlsx: "Excel", parquet: "Parquet" };
const today = () => new Date().toISOString().slice(0, 10);

/** What can be exported: declared entities; the audit log and everything only by an admin. */
const kinds = () => [...(get().entities ?? []).map((each) => each.name), ...(may("admin") ? ["audit", "gdpr"] : [])];

export function NewExport({ query }) {
  const tenant = tenantOf(query);
  const all = kinds();
  const [dataType, setDataType] = useState(all.includes(query.entity) ? query.entity : all.includes("accounts") ? "accounts" : all[0]);
  const [format, setFormat] = useState("csv");
  const [filters, setFilters] = useState([]);
  const [bom, setBom] = useState(false);
  const [name, setName] = useState(null);
  const filename = name ?? `${tenant}-${dataType}-${today()}`;
  const given = useMemo(() => ({
    format, mode: "all", dataType, filename, ...(bom && format === "csv" ? { bom: true } : {}),
    ...(filters.some((each) => each.value) && dataType !== "gdpr" ? { filters: Object.fromEntries(filters.filter((each) => each.value).map((each) => [each.field, each.value])) } : {}),
  }), [format, dataType, filename, bom, filters]);
  const estimate = useEstimate(tenant, given);
  const [quota, setQuota] = useState(null);
  useEffect(() => { read(`${base(tenant)}/exports`, { limit: 1 }).then((answer) => setQuota(answer.quota), () => setQuota(null)); }, [tenant]);
  const key = useRef(crypto.randomUUID());
  useEffect(() => { key.current = crypto.randomUUID(); }, [given, tenant]);
  const start = useAction(async () => change("POST", `${base(tenant)}/exports`, given, { key: key.current }));
  async function submit(event) {
    event?.preventDefault();
    const made = await start.run();
    if (made) go(to("/runs", { run: made.id }));
  }
  useKeys({ "Ctrl Enter": submit }, [given, tenant]);
  if (!may("operator")) return html`<h1>New export</h1><${Empty}>This needs the role operator.<//>`;
  const left = quota?.[dataType === "gdpr" ? "gdpr" : "standard"];
  const wrong = Object.fromEntries((start.error?.details ?? []).map((each) => [each.field, each.message]));
  return html`<div class="narrow"><h1>New export</h1><form class="card form" onSubmit=${submit}>
    <${Field} label="Tenant" id="tenant"><${TenantChoice} id="tenant" value=${tenant} onChange=${choose} /><//>
    <${Field} label="What" id="what" error=${wrong.dataType} hint=${dataType === "gdpr" ? "Everything that the tenant holds, trash and audit included, zipped. Three a day." : entityOf(dataType)?.description}><select class="input" id="what" value=${dataType} onChange=${(event) => { setDataType(event.target.value); setFilters([]); }}>
      ${all.map((each) => html`<option value=${each} selected=${each === dataType}>${each === "gdpr" ? "everything (GDPR)" : each}</option>`)}</select><//>
    ${dataType !== "gdpr" && html`<${FilterRows} entity=${entityOf(dataType)} filters=${filters} setFilters=${setFilters} wrong=${wrong} />`}
    <fieldset class="field-row wide"><legend class="label">Format</legend><div class="buttons">${Object.entries(FORMATS).map(([value, word]) => html`<label class="check"><input type="radio" name="format" value=${value} checked=${format === value} onChange=${() => setFormat(value)} />${word}</label>`)}
      ${format === "csv" && html`<label class="check"><input type="checkbox" checked=${bom} onChange=${(event) => setBom(event.target.checked)} />With a mark for Excel (BOM)</label>`}</div></fieldset>
    <${Field} label="Name of the file" id="filename" wide error=${wrong.filename} hint="The extension is added."><input class="input" id="filename" maxlength="120" value=${filename} aria-invalid=${wrong.filename ? "true" : undefined} onInput=${(event) => setName(event.target.value)} /><//>
    <${Failure} error=${start.error} retry=${submit} />
    <div class="form-end"><p class="soft" role="status">${estimate.words}${left ? ` ${number(left.remaining)} of ${many(left.limit, "export")} left, new ones ${relative(left.resetAt)}.` : ""}</p>
      <button class="btn primary" disabled=${start.busy || left?.remaining === 0}>${start.busy ? "Starting…" : "Start export"}</button></div>
  </form></div>`;
}

/** About how large the export is, 400 ms after the last change; an older question is given up. */
function useEstimate(tenant, given) {
  const [words, setWords] = useState("Estimating…");
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const found = await change("POST", `${base(tenant)}/exports/estimate`, given, { signal: controller.signal });
        setWords(`About ${many(found.rows, "row")}, ${bytes(found.bytes)}, ${span(found.seconds * 1000)}.`);
      } catch (error) {
        if (error.name !== "AbortError") setWords(`No estimate: ${error.message}`);
      }
    }, 400);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [tenant, JSON.stringify(given)]);
  return { words };
}
