/* Which column of the file is which field; each can be changed. */
import { plain } from "../../lib/format.js";
import { html } from "../../lib/ui.js";

export function Mapping({ file, fields, change }) {
  const set = (n, field) => change(file.mapping.map((each, at) => (at === n ? field || null : each)));
  return html`<div class="whole wide"><h2>Columns</h2><table class="table mapping"><thead><tr><th scope="col">In the file</th><th scope="col">For example</th><th scope="col">Is</th></tr></thead>
    <tbody>${file.names.map((name, n) => html`<tr><td><bdi>${plain(name) || "(no name)"}</bdi></td><td class="soft"><bdi>${plain(file.samples[n].join(", "))}</bdi></td>
      <td><select class="input" aria-label=${`Field of ${plain(name)}`} value=${file.mapping[n] ?? ""} onChange=${(event) => set(n, event.target.value)}>
        <option value="" selected=${!file.mapping[n]}>left out</option>${fields.filter((field) => field === file.mapping[n] || !file.mapping.includes(field)).map((field) => html`<option selected=${field === file.mapping[n]}>${field}</option>`)}</select></td></tr>`)}</tbody></table></div>`;
}
