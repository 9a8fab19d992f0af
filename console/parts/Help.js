/* The list of keys. */
import { prefer, preferences } from "../lib/store.js";
import { html, useState } from "../lib/ui.js";
import { Dialog } from "./Dialog.js";

const KEYS = [
  ["Everywhere", [["Ctrl K", "search or go to"], ["/", "to the search field"], ["?", "this list"], ["g h", "Home"], ["g r", "Runs"], ["g t", "Tenants"], ["g a", "Audit"], ["n", "New"], ["Esc", "close"]]],
  ["In lists", [["j k", "next, previous"], ["Enter", "open"], ["x", "choose"], ["Shift x", "choose all up to here"]]],
  ["In a run", [["[ ]", "previous, next run"], ["r", "retry"], ["c", "cancel"], ["d", "download"]]],
];

export function Help({ onClose }) {
  const [off, setOff] = useState(Boolean(preferences().singleKeysOff));
  function change(event) {
    prefer({ singleKeysOff: event.target.checked });
    setOff(event.target.checked);
  }
  return html`<${Dialog} title="Keys" onClose=${onClose}>${KEYS.map(([head, keys]) => html`<section><h3>${head}</h3><dl class="kv keys">${keys.map(([key, what]) =>
    html`<dt>${key.split(" ").map((each) => html`<kbd>${each}</kbd> `)}</dt><dd>${what}</dd>`)}</dl></section>`)}
    <label class="check"><input type="checkbox" checked=${off} onChange=${change} />Turn off keys of a single letter</label>
    <div class="buttons end"><button type="button" class="btn" onClick=${onClose}>Close</button></div><//>`;
}
