/* One record, in the backup and now; fields can be chosen, and what happened since stands below. */
import { read } from "../../lib/api.js";
import { many, pathId, plain } from "../../lib/format.js";
import { useLive } from "../../lib/poll.js";
import { to } from "../../lib/router.js";
import { html, useState } from "../../lib/ui.js";
import { Empty, Name, Time } from "../../parts/basics.js";
import { Icon } from "../../parts/Icon.js";
import { Value } from "../records/Value.js";

export function RecordDiff({ row, kind, entity, tenant, moment, since, chosen, setChosen, back }) {
  const [same, setSame] = useState(false);
  if (!row) return html`<section class="record-diff" aria-label="Record"><${Empty}>Choose a record to see it side by side.<//></section>`;
  const names = [...new Set([...Object.keys(row.backup ?? {}), ...Object.keys(row.live ?? {})])];
  const changed = kind === "changed" ? row.changed_fields ?? [] : names.filter((name) => name !== "id");
  const rest = names.filter((name) => !changed.includes(name));
  const fields = chosen.get(row.id);
  const isOn = (name) => chosen.has(row.id) && (fields === null || fields?.includes(name));
  function flip(name) {
    const before = chosen.has(row.id) ? fields ?? changed : [];
    const after = before.includes(name) ? before.filter((each) => each !== name) : [...before, name];
    const next = new Map(chosen);
    if (after.length) next.set(row.id, after.length === changed.length ? null : after);
    else next.delete(row.id);
    setChosen(next);
  }
  const line = (name) => html`<tr class=${isOn(name) ? "on" : ""}><td>${kind === "changed" && changed.includes(name) && html`<input type="checkbox" aria-label=${`Set ${plain(name)} back`} checked=${isOn(name)} onChange=${() => flip(name)} />`}</td><th scope="row">${plain(name)}</th>
    <td class="then" data-side="Backup">${row.backup ? html`<${Value} of=${row.backup[name]} whole />` : html`<span class="dim">not there</span>`}${isOn(name) && html`<span class="comes">comes back</span>`}</td><td class="now-side" data-side="Now">${row.live ? html`<${Value} of=${row.live[name]} whole />` : html`<span class="dim">not there</span>`}</td></tr>`;
  return html`<section class="record-diff" aria-labelledby="record-name"><header><button type="button" class="btn quiet back" onClick=${back}><${Icon} name="left" />Records</button><div><h2 id="record-name"><${Name} of=${row.label ?? row.id} /></h2><p class="dim"><${Name} of=${row.id} mono />${row.last_change ? html`, last changed by <${Name} of=${row.last_change.actor ?? "somebody outside Stowage"} />, <${Time} at=${row.last_change.at} />` : ""}</p></div>
      <span class="push"></span>${row.live && html`<a class="btn small" href=${to(`/records/${tenant}/${entity}/${pathId(row.id)}`)}>History</a>`}</header>
    <table class="diff"><thead><tr><td></td><th scope="col">Field</th><th scope="col">In the backup, ${moment}</th><th scope="col">Now</th></tr></thead><tbody>${changed.map(line)}${same && rest.map(line)}</tbody></table>
    ${rest.length > 0 && html`<p class="same">${many(rest.length, "field")} ${kind === "changed" ? `${rest.length === 1 ? "is" : "are"} the same` : "more"}. <button type="button" class="link" onClick=${() => setSame(!same)}>${same ? "Hide" : "Show"}</button></p>`}
    <${Since} key=${row.id} tenant=${tenant} entity=${entity} id=${row.id} since=${since} /></section>`;
}

function Since({ tenant, entity, id, since }) {
  const live = useLive((signal) => read(`/api/v1/${entity}/${pathId(id)}/history`, { limit: 20 }, { tenant, signal }), [id], { every: 0 });
  const entries = (live.data?.data ?? []).filter((each) => each.at > since);
  if (!entries.length) return null;
  return html`<div class="since"><h3>What happened since the backup</h3><ul>${entries.map((each) => html`<li><span class="dim"><${Time} at=${each.at} form="exact" /></span><span><${Name} of=${each.actor ?? "somebody outside Stowage"} />: ${plain(each.type)}${each.operation ? html`. <a href=${to("/operations", { tenant })}>Undo that operation instead</a>` : ""}</span></li>`)}</ul></div>`;
}
