/* What a run left and how it was asked for. */
import { bytes, number, plain, span } from "../../lib/format.js";
import { curl } from "../../lib/curl.js";
import { html, useState } from "../../lib/ui.js";
import { Copy, Name, Time } from "../../parts/basics.js";
import { Mark } from "../../parts/Status.js";

const LEVELS = { 1: "checksum read again", 2: "whole file read", 3: "restored into an empty database" };

/** The evidence that a backup can be restored. */
export function Evidence({ verification }) {
  if (!verification) return html`<${Mark} mark=${{ icon: "disc", tone: "idle", word: "Nobody has proved that it restores" }} />`;
  const mark = verification.ok ? { icon: "ok", tone: "ok", word: `Level ${verification.level}: ${LEVELS[verification.level] ?? "checked"}` } : { icon: "bad", tone: "bad", word: "Found damaged" };
  return html`<${Mark} mark=${mark} />, <${Time} at=${verification.at} />`;
}

const DESTINATIONS = { s3: "S3", telegram: "Telegram" };

export const Destinations = ({ of }) => html`${of.map((each) => html`<div><${Mark} mark=${["stored", "ok", "completed"].includes(each.status)
  ? { icon: "ok", tone: "ok", word: DESTINATIONS[each.type] ?? each.type } : { icon: "warn", tone: "warn", word: `${DESTINATIONS[each.type] ?? each.type}: ${each.status}` }} /></div>`)}`;

export function Particulars({ job, timeline, backup, file }) {
  const manifest = timeline.manifest;
  const rows = manifest?.contents?.rows;
  const result = job.result ?? {};
  const facts = [
    manifest?.file_name && ["File", html`<${Name} of=${manifest.file_name} />`],
    manifest?.size_bytes !== undefined && ["Size", `${bytes(manifest.size_bytes)}${manifest.source_bytes ? ` (${bytes(manifest.source_bytes)} before compression)` : ""}`],
    manifest?.sha256 && ["SHA-256", html`<span class="mono">${manifest.sha256}</span>`],
    (manifest?.rows ?? result.rows) !== undefined && ["Rows", number(manifest?.rows ?? result.rows)],
    backup && ["Evidence", html`<${Evidence} verification=${backup.verification} />`],
    backup && ["Kept in", html`<${Destinations} of=${backup.destinations} />`],
    backup?.expires_at && ["Kept until", html`<${Time} at=${backup.expires_at} form="exact" />`],
    file?.expiresAt && ["Kept until", html`<${Time} at=${file.expiresAt} form="exact" />`],
    manifest?.contents?.server_version && ["Postgres", manifest.contents.server_version],
    backup?.duration_ms && ["Took", span(backup.duration_ms)],
  ].filter(Boolean);
  const other = Object.entries(result).filter(([name, value]) => ["number", "boolean", "string"].includes(typeof value) && (!manifest || job.type === "restore") && name !== "rows" && !name.endsWith("_path"));
  if (!facts.length && !other.length && job.status !== "completed") {
    return ["failed", "cancelled"].includes(job.status) ? html`<section><h3>What it left</h3><p class="soft">${job.type === "restore" ? "The run did not finish; its error says whether the schema was replaced." : "No file: the run did not finish. What was there before is untouched."}</p></section>` : null;
  }
  return html`<section><h3>What it left</h3><dl class="kv">${[...facts, ...other.map(([name, value]) => [name.replaceAll("_", " "), /(_at|_until)$/.test(name) && value ? html`<${Time} at=${value} form="exact" />` : plain(value)])].map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    ${rows && html`<${Manifest} rows=${rows} />`}</section>`;
}

function Manifest({ rows }) {
  const [open, setOpen] = useState(false);
  const names = Object.keys(rows);
  return html`<p class="same"><button type="button" class="link" aria-expanded=${open ? "true" : "false"} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"} the rows of ${number(names.length)} tables</button></p>
    ${open && html`<dl class="kv">${names.map((name) => html`<dt class="mono">${plain(name)}</dt><dd>${number(rows[name])}</dd>`)}</dl>`}`;
}

const PATHS = {
  export_backup: () => ["/api/backup/export", (job) => ({ project_id: job.project_id, ...job.request })],
  restore: () => ["/api/backup/restore", (job) => job.request],
  export: (job) => [`/api/guilds/${job.project_id}/exports`, (each) => each.request],
};

/** The request as it was sent, and as curl; only where the API says it. */
export function RequestSent({ job }) {
  if (!job.request) return null;
  const found = PATHS[job.type]?.(job);
  const text = found ? curl("POST", found[0], found[1](job)) : JSON.stringify(job.request, null, 2);
  return html`<section><h3>Request, as sent<span class="push"></span><${Copy} text=${text} /></h3><pre class="block">${plain(text).replaceAll("\\u000a", "\n")}</pre></section>`;
}
