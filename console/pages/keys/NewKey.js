/* Making a key: its name, role and end; then the key itself, this once. */
import { change } from "../../lib/api.js";
import { html, useState } from "../../lib/ui.js";
import { Button, Code, Failure, Field, useAction } from "../../parts/basics.js";
import { Dialog } from "../../parts/Dialog.js";

const ROLES = { viewer: "viewer: reads", operator: "operator: exports, imports, changes records", admin: "admin: everything" };
const ENDS = { "": "never", 30: "in 30 days", 90: "in 90 days", 365: "in a year" };
const options = (words, chosen) => Object.entries(words).map(([value, text]) => html`<option value=${value} selected=${value === chosen}>${text}</option>`);

export function NewKey({ tenant, onClose }) {
  const [given, setGiven] = useState({ name: "", role: "viewer", days: "90" });
  const [key] = useState(() => crypto.randomUUID());
  const [made, setMade] = useState(null);
  const action = useAction(() => change("POST", "/api/v1/api-keys", {
    name: given.name, role: given.role,
    ...(given.days && { expiresAt: new Date(Date.now() + given.days * 86_400_000).toISOString() }),
  }, { tenant, key }));
  const put = (name) => (event) => setGiven({ ...given, [name]: event.target.value });
  async function make(event) {
    event.preventDefault();
    const answer = await action.run();
    if (answer) setMade(answer);
  }
  if (made) {
    return html`<${Dialog} title="The new key" onClose=${onClose}><p>Copy it now: you will not see it again.</p><${Code} text=${made.key} />
      <p class="meta dim">Send it as <code>Authorization: Bearer</code> or <code>X-API-Key</code>.</p>
      <div class="buttons end"><${Button} kind="primary" onClick=${onClose}>Done<//></div><//>`;
  }
  return html`<${Dialog} title="New API key" onClose=${onClose}><form class="stack" onSubmit=${make}>
    <${Field} label="Name" id="key-name" hint="What will use it"><input class="input" id="key-name" required maxlength="100" value=${given.name} onInput=${put("name")} /><//>
    <${Field} label="Role" id="key-role"><select class="input" id="key-role" onChange=${put("role")}>${options(ROLES, given.role)}</select><//>
    <${Field} label="Expires" id="key-days"><select class="input" id="key-days" onChange=${put("days")}>${options(ENDS, given.days)}</select><//>
    <${Failure} error=${action.error} />
    <div class="buttons end"><${Button} onClick=${onClose}>Cancel<//><button class="btn primary" disabled=${action.busy || !given.name.trim()}>${action.busy ? "Making it…" : "Make it"}</button></div>
  </form><//>`;
}
