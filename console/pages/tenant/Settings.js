/* When a tenant is backed up and how long backups are kept; what a change would come to, before it is saved. */
import { ask, change, read, url } from "../../lib/api.js";
import { date, time } from "../../lib/format.js";
import { useKeys } from "../../lib/keys.js";
import { useLive } from "../../lib/poll.js";
import { may, say } from "../../lib/store.js";
import { html, useEffect, useState } from "../../lib/ui.js";
import { Button, Failure, Field, Loading, Time, useAction } from "../../parts/basics.js";
import { readCron } from "../../words/cron.js";
import { Plan } from "./Plan.js";

const PATH = "/api/backup/settings";
const FORMATS = { sql: "SQL", custom: "Archive", tar: "Tar" };
const KEPT = { days: ["Keep each", "days"], min_keep: ["At least", "newest verified"], daily: ["And one of each of", "days"], weekly: ["", "weeks"], monthly: ["", "months"] };

export function Settings({ tenant }) {
  const live = useLive((signal) => read(PATH, { project_id: tenant }, { signal }), [tenant], { every: 0 });
  if (!live.data) return html`<div class="card"><${Failure} error=${live.error} retry=${live.reload} />${!live.error && html`<${Loading} what="settings" />`}</div>`;
  return html`<${Form} tenant=${tenant} saved=${live.data.data} etag=${live.data.etag} reload=${live.reload} key=${live.data.etag} />`;
}

/** The settings without what only answers have. */
const given = ({ next_run_at: _next, missed: _missed, ...settings }) => settings;

function Form({ tenant, reload, ...found }) {
  const [{ saved, etag }, setSaved] = useState(found);
  const [wanted, setWanted] = useState(given(saved));
  const text = JSON.stringify(wanted);
  const preview = usePreview(tenant, wanted, text);
  const changed = text !== JSON.stringify(given(saved));
  const editable = may("admin");
  const save = useAction(() => ask("PUT", url(PATH, { project_id: tenant }), { body: wanted, match: etag }));
  async function submit(event) {
    event?.preventDefault();
    if (!changed || !editable) return;
    const answer = await save.run();
    if (answer) {
      const next = answer.data.next_run_at;
      setSaved({ saved: answer.data, etag: answer.etag });
      say(next ? `Saved. Next run ${date(next)}, ${time(next)} UTC.` : "Saved. No backup is scheduled.");
    }
  }
  useKeys({ "Ctrl s": submit }, [text, changed]);
  const { schedule } = wanted;
  const set = (part) => setWanted({ ...wanted, schedule: { ...schedule, ...part } });
  const wrong = Object.fromEntries([...(preview.error?.details ?? []), ...(save.error?.details ?? [])].map((each) => [each.field, each.message]));
  const reading = schedule && readCron(schedule.cron);
  return html`<form class="card form" onSubmit=${submit}><fieldset class="whole stack" disabled=${!editable}>
    <label class="check"><input type="checkbox" checked=${Boolean(schedule?.enabled)} onChange=${(event) => setWanted({ ...wanted, schedule: schedule ? { ...schedule, enabled: event.target.checked } : { cron: "0 2 * * *", timezone: "UTC", enabled: true, window_minutes: 0 } })} />Back up on a schedule</label>
    ${schedule && html`<div class="form-part"><${Field} label="Schedule (cron)" id="cron" error=${wrong["schedule.cron"]} hint="Minute, hour, day, month, weekday"><input class="input mono" id="cron" value=${schedule.cron} aria-invalid=${wrong["schedule.cron"] ? "true" : undefined} onInput=${(event) => set({ cron: event.target.value })} /><//>
      <${Field} label="Time zone" id="zone" error=${wrong["schedule.timezone"]}><input class="input" id="zone" value=${schedule.timezone} list="zones" onInput=${(event) => set({ timezone: event.target.value })} /><datalist id="zones">${Intl.supportedValuesOf("timeZone").map((each) => html`<option value=${each}></option>`)}</datalist><//>
      <${Field} label="Spread over (minutes)" id="window" error=${wrong["schedule.window_minutes"]} hint="Each tenant's turn comes within it."><input class="input" id="window" type="number" min="0" value=${schedule.window_minutes} onInput=${(event) => set({ window_minutes: Number(event.target.value) })} /><//></div>
      <p class="soft" role="status">${schedule.enabled ? html`${reading ? `${reading}, ${schedule.timezone}. ` : ""}${preview.data?.next_run_at?.length ? html`Next: ${preview.data.next_run_at.slice(0, 5).map((at, n) => html`${n ? ", " : ""}${inZone(at, schedule.timezone)}`)}.` : ""}` : "Paused: nothing is backed up until it is switched on."}</p>`}
    <fieldset class="field-row"><legend class="label">Format</legend><div class="buttons">${Object.entries(FORMATS).map(([value, words]) => html`<label class="check"><input type="radio" name="format" checked=${wanted.format === value} onChange=${() => setWanted({ ...wanted, format: value })} />${words}</label>`)}</div></fieldset>
    ${wanted.retention && html`<fieldset class="field-row"><legend class="label">How long backups are kept</legend><div class="buttons">${Object.entries(KEPT).map(([name, [before, after]]) => html`<label class="check">${before} <input class="input tiny" type="number" min="0" aria-label=${`${before} ${after}`.trim()} aria-invalid=${wrong[`retention.${name}`] ? "true" : undefined} value=${wanted.retention[name]} onInput=${(event) => setWanted({ ...wanted, retention: { ...wanted.retention, [name]: Number(event.target.value) } })} /> ${after}</label>`)}</div></fieldset>`}</fieldset>
    ${preview.data?.retention && html`<${Plan} plan=${preview.data.retention} tenant=${tenant} />`}
    ${preview.error && html`<p class="bad wide">${preview.error.message}</p>`}
    ${save.error?.status === 412 ? html`<div class="notice warn-ground wide" role="alert"><p>Somebody else has saved these settings meanwhile.</p><${Button} small onClick=${reload}>Take theirs<//></div>` : html`<${Failure} error=${save.error} retry=${submit} />`}
    <div class="form-end"><p class="soft">${saved.next_run_at ? html`As saved, the next backup comes <${Time} at=${saved.next_run_at} />.` : "As saved, no backup is scheduled."}${saved.missed?.length ? html` Last missed: <${Time} at=${saved.missed[0]} />.` : ""}</p>
      ${editable ? html`<div class="buttons">${changed && html`<${Button} onClick=${() => setWanted(given(saved))}>Put back<//>`}<button class="btn primary" disabled=${!changed || save.busy}>${save.busy ? "Saving…" : "Save"}</button></div>` : html`<p class="dim">Changing them needs the role admin.</p>`}</div></form>`;
}

function inZone(at, zone) {
  try {
    return new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone }).format(new Date(at));
  } catch {
    return `${date(at)}, ${time(at)} UTC`;
  }
}

/** What the wanted settings would come to, 400 ms after the last change. Only admins may ask. */
function usePreview(tenant, wanted, text) {
  const [state, setState] = useState({});
  useEffect(() => {
    if (!may("admin")) return undefined;
    const controller = new AbortController();
    const timer = setTimeout(() => change("POST", url(`${PATH}/preview`, { project_id: tenant }), wanted, { signal: controller.signal }).then(
      ({ data }) => setState({ data }), (error) => error.name !== "AbortError" && setState((old) => ({ data: old.data, error }))), 400);
    return () => { clearTimeout(timer); controller.abort(); };
  }, [tenant, text]);
  return state;
}

