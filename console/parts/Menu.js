/* A button that opens a list; arrows move, Escape closes. */
import { html, useEffect, useRef, useState } from "../lib/ui.js";
import { Icon } from "./Icon.js";

/** `items`: {text, run or href, tone, chosen}. With `choice` the items are options that can be chosen. */
export function Menu({ label, items, kind = "", icon, on = false, right = false, choice = false, name, children }) {
  const [open, setOpen] = useState(false);
  const root = useRef(null);
  const button = useRef(null);
  useEffect(() => {
    if (!open) return undefined;
    const outside = (event) => !root.current.contains(event.target) && setOpen(false);
    document.addEventListener("pointerdown", outside);
    (root.current.querySelector("[aria-checked=true]") ?? root.current.querySelector("[role^=menuitem]"))?.focus();
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  function close() {
    setOpen(false);
    button.current.focus();
  }
  function key(event) {
    if (!open) return;
    const all = [...root.current.querySelectorAll("[role^=menuitem]")];
    const at = all.indexOf(document.activeElement);
    const moves = { ArrowDown: (at + 1) % all.length, ArrowUp: (at - 1 + all.length) % all.length, Home: 0, End: all.length - 1 };
    if (event.key in moves) {
      event.preventDefault();
      all[moves[event.key]].focus();
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") setOpen(false);
  }
  const choose = (item) => () => { if (!choice) close(); item.run?.(); };
  const role = choice ? "menuitemcheckbox" : "menuitem";
  return html`<div class="menu" ref=${root} onKeyDown=${key}>
    <button type="button" ref=${button} class="btn ${kind} ${on ? "on" : ""}" aria-haspopup="menu" aria-expanded=${open ? "true" : "false"}
      aria-label=${name} onClick=${() => setOpen(!open)}>${icon && html`<${Icon} name=${icon} size=${14} />`}${label ?? children}
      <${Icon} name="down" size=${14} /></button>
    ${open && html`<div class="menu-list ${right ? "right" : ""}" role="menu">${items.map((item) => item.href
      ? html`<a role="menuitem" tabindex="-1" href=${item.href} onClick=${() => setOpen(false)}>${item.text}</a>`
      : html`<button type="button" role=${role} tabindex="-1" class=${item.tone ?? ""}
          aria-checked=${choice ? String(Boolean(item.chosen)) : undefined} onClick=${choose(item)}>${choice && html`<span class="tick" aria-hidden="true"></span>`}${item.text}</button>`)}</div>`}
  </div>`;
}
