/* Ctrl K: go to a page, a tenant, a run, or begin something. */
import { plain } from "../lib/format.js";
import { go, to } from "../lib/router.js";
import { get } from "../lib/store.js";
import { html, useId, useLayoutEffect, useMemo, useRef, useState } from "../lib/ui.js";

const RUN = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i;
const MOST_ROWS = 12;

function entries(places, items) {
  return [
    ...places.filter((each) => each.path).map((each) => ({ text: each.text, kind: "Page", href: to(each.path) })),
    ...items.map((each) => ({ text: `New ${each.text.toLowerCase()}`, kind: "Begin", href: each.href })),
    { text: "Failed runs", kind: "Page", href: to("/runs", { status: "failed" }) },
    { text: "Running runs", kind: "Page", href: to("/runs", { status: "running" }) },
    ...get().tenants.map((each) => ({ text: plain(each.name ?? each.id), note: each.id, kind: "Tenant", href: to(`/tenants/${each.id}`) })),
  ];
}

export function Palette({ places, items, onClose }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const dialog = useRef(null);
  const list = useId();
  const all = useMemo(() => entries(places, items), []);
  // Before the next key: what is typed at once must not reach the page's own keys.
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const wanted = text.trim().toLowerCase();
  const found = all.filter((each) => `${each.text} ${each.note ?? ""}`.toLowerCase().includes(wanted)).slice(0, MOST_ROWS);
  if (RUN.test(wanted)) found.unshift({ text: `Run ${wanted}`, kind: "Run", href: to("/runs", { run: wanted }) });
  else if (wanted) found.push({ text: `Runs that contain “${plain(text.trim())}”`, kind: "Search", href: to("/runs", { q: text.trim() }) });
  function open(each) {
    onClose();
    if (each) go(each.href);
  }
  function key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setAt((at + (event.key === "ArrowDown" ? 1 : found.length - 1)) % Math.max(1, found.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(found[at]);
    }
  }
  return html`<dialog class="palette" ref=${dialog} aria-label="Search or go to" onCancel=${(event) => { event.preventDefault(); onClose(); }}
      onClick=${(event) => event.target === dialog.current && onClose()}>
    <input class="input" role="combobox" aria-label="Search or go to" aria-expanded="true" aria-controls=${list} aria-activedescendant=${found[at] ? `${list}-${at}` : undefined}
      placeholder="A page, a tenant, a run's id" autocomplete="off" value=${text} onKeyDown=${key} onInput=${(event) => { setText(event.target.value); setAt(0); }} />
    <ul id=${list} role="listbox" aria-label="Found">${found.map((each, n) => html`<li role="option" id=${`${list}-${n}`} aria-selected=${n === at ? "true" : "false"}
      onClick=${() => open(each)} onPointerMove=${() => setAt(n)}><bdi>${each.text}</bdi>${each.note && each.note !== each.text && html`<span class="dim mono">${plain(each.note)}</span>`}<span class="push"></span><span class="dim meta">${each.kind}</span></li>`)}</ul>
    ${found.length === 0 && html`<p class="empty">Nothing is called so.</p>`}</dialog>`;
}
