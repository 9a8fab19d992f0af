/* Change a record's fields; what somebody else changed meanwhile is not overwritten. */
import { change } from "../../lib/api.js";
import { say } from "../../lib/store.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Failure, Field, useAction } from "../../parts/basics.js";
import { Dialog } from "../../parts/Dialog.js";

const EDITED = ["text", "integer", "number", "boolean", "float", "decimal"];

/** A field of a form as the API takes it; an empty one is null where that may be. */
export function typed(text, field) {
  if (text === "" && field.nullable) return null;
  if (field.type === "boolean") return text === "true";
  return ["integer", "number", "float"].includes(field.type) && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

export function Input({ field, value, onInput, id, invalid }) {
  const values = field.type === "boolean" ? ["true", "false"] : field.values ?? [];
  if (values.length) return html`<select class="input" id=${id} value=${value} onChange=${onInput}>${field.nullable && html`<option value="" selected=${value === ""}></option>`}${values.map((each) => html`<option selected=${each === value}>${each}</option>`)}</select>`;
  return html`<input class="input" id=${id} value=${value} aria-invalid=${invalid ? "true" : undefined} onInput=${onInput} />`;
}

export const editable = (entity) => entity.fields.filter((field) => !field.readOnly && field.name !== "id" && (field.values?.length || EDITED.includes(field.type)));

export function EditRecord({ entity, path, record, tenant, done, onClose }) {
  const fields = editable(entity);
  const [values, setValues] = useState(Object.fromEntries(fields.map((field) => [field.name, record[field.name] === null || record[field.name] === undefined ? "" : String(record[field.name])])));
  const action = useAction((changes) => change("PATCH", path, changes, { tenant }));
  async function save(event) {
    event.preventDefault();
    const changed = fields.filter((field) => values[field.name] !== (record[field.name] === null || record[field.name] === undefined ? "" : String(record[field.name])));
    if (!changed.length) return onClose();
    if (await action.run(Object.fromEntries(changed.map((field) => [field.name, typed(values[field.name], field)])))) {
      say("Saved.");
      done();
      onClose();
    }
    return undefined;
  }
  const wrong = Object.fromEntries((action.error?.details ?? []).map((each) => [each.field, each.message]));
  return html`<${Dialog} title=${`Edit this ${entity.singular}`} onClose=${onClose}><form onSubmit=${save}>
    ${fields.map((field) => html`<${Field} label=${field.name} id=${`f-${field.name}`} error=${wrong[field.name]}><${Input} id=${`f-${field.name}`} field=${field} value=${values[field.name]} invalid=${wrong[field.name]} onInput=${(event) => setValues({ ...values, [field.name]: event.target.value })} /><//>`)}
    <${Failure} error=${action.error} /><div class="buttons end"><${Button} onClick=${onClose}>Leave it<//><button class="btn primary" disabled=${action.busy}>${action.busy ? "Saving…" : "Save"}</button></div></form><//>`;
}
