/* What is done with many records at once: delete, set a field, give to another parent; what became of each. */
import { change } from "../../lib/api.js";
import { many, number, plain } from "../../lib/format.js";
import { may } from "../../lib/store.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Field } from "../../parts/basics.js";
import { Confirm } from "../../parts/Dialog.js";
import { BulkResult } from "../../parts/BulkResult.js";
import { editable, Input, typed } from "./EditRecord.js";

export function RecordBulk({ tenant, entity, chosen, clear, done }) {
  const [asking, setAsking] = useState(null);
  const [result, setResult] = useState(null);
  const fields = editable(entity);
  const [field, setField] = useState(null);
  const [value, setValue] = useState("");
  const target = fields.find((each) => each.name === field) ?? fields[0];
  const ids = [...chosen.keys()];
  const names = (id) => plain(chosen.get(id)?.[entity.label] ?? id);
  async function run() {
    const path = `/api/v1/bulk/${entity.name}`;
    const answer = asking === "delete" ? await change("POST", `${path}/delete`, { ids }, { tenant })
      : await change("PATCH", path, { updates: ids.map((id) => ({ id, [target.name]: typed(value, target) })) }, { tenant });
    const { data } = answer;
    const failed = (data.failures ?? []).map((each) => ({ ...each, name: names(each.id) }));
    setResult({ operation: data.operationId, done: data.deleted ?? data.updated, failed, what: asking === "delete" ? "deleted" : "changed" });
    clear();
    done();
    return data;
  }
  if (!may("operator")) return null;
  return html`${chosen.size > 0 && html`<div class="notice" role="region" aria-label="Chosen records"><p>${number(chosen.size)} chosen</p>
      ${entity.trash && html`<${Button} small kind="danger" onClick=${() => setAsking("delete")}>Delete<//>`}
      ${fields.length > 0 && html`<${Button} small onClick=${() => setAsking("set")}>Set a field<//>`}<span class="push"></span><${Button} small kind="quiet" onClick=${clear}>Choose none<//></div>`}
    ${asking === "delete" && html`<${Confirm} title=${`Delete ${many(chosen.size, entity.singular, entity.name)}?`} yes="Move to the trash" work=${run} onClose=${() => setAsking(null)}><p>They go to the trash as one operation, which can be undone. What belongs to them goes along.</p><//>`}
    ${asking === "set" && html`<${Confirm} title=${`Change ${many(chosen.size, entity.singular, entity.name)}`} yes="Change" danger=${false} work=${run} onClose=${() => setAsking(null)}>
      <${Field} label="Field" id="bulk-field"><select class="input" id="bulk-field" value=${target.name} onChange=${(event) => { setField(event.target.value); setValue(""); }}>${fields.map((each) => html`<option selected=${each === target}>${each.name}</option>`)}</select><//>
      <${Field} label="New value" id="bulk-value"><${Input} id="bulk-value" field=${target.values?.length ? { ...target, nullable: true } : target} value=${value} onInput=${(event) => setValue(event.target.value)} /><//><p class="soft">One operation, which can be undone.</p><//>`}
    ${result && html`<${BulkResult} tenant=${tenant} result=${result} reload=${done} onClose=${() => setResult(null)} />`}`;
}
