/* Single keys and sequences of two; silent in fields and while a dialog is open (WCAG 2.1.4: they can be turned off). */
import { preferences } from "./store.js";
import { useLayoutEffect } from "./ui.js";

const layers = [];
let pending = "";
let pendingTimer = null;

/** While the component is there, `keys` ({"j": f, "g h": f, "Shift x": f}) work; the newest layer is asked first. */
export function useKeys(keys, inputs) {
  // Before the next key can be pressed: `x` right after `j` means the row that `j` has come to.
  useLayoutEffect(() => {
    layers.push(keys);
    return () => layers.splice(layers.indexOf(keys), 1);
  }, inputs);
}

const isField = (element) => element.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    run(`Ctrl ${event.key}`, event);
    return;
  }
  if (event.altKey || event.isComposing || isField(event.target) || document.querySelector("dialog[open]")) return;
  if (preferences().singleKeysOff && event.key.length === 1) return;
  const name = event.shiftKey && event.key.length === 1 && /[a-z]/i.test(event.key)
    ? `Shift ${event.key.toLowerCase()}` : event.key;
  const sequence = pending && `${pending} ${name}`;
  clearTimeout(pendingTimer);
  pending = "";
  if (sequence && run(sequence, event)) return;
  if (name === "g") {
    pending = "g";
    pendingTimer = setTimeout(() => { pending = ""; }, 1200);
    return;
  }
  run(name, event);
});

function run(name, event) {
  for (const keys of [...layers].reverse()) {
    if (keys[name]) {
      // A pressed button or link keeps its own Enter and Space.
      if (["Enter", " "].includes(name) && event.target.closest("button, a[href], summary")) return false;
      event.preventDefault();
      keys[name](event);
      return true;
    }
  }
  return false;
}
