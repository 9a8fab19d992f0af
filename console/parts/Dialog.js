/* The browser's own dialog: it keeps the focus, Escape closes it, the page behind is still. */
import { html, useEffect, useId, useRef, useState } from "../lib/ui.js";
import { Button, Failure, useAction } from "./basics.js";

export function Dialog({ title, onClose, children, class: extra = "" }) {
  const element = useRef(null);
  const name = useId();
  useEffect(() => {
    const before = document.activeElement;
    element.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const outside = (event) => event.target === element.current && onClose();
  return html`<dialog ref=${element} class=${extra} aria-labelledby=${name} onClick=${outside}
    onCancel=${(event) => { event.preventDefault(); onClose(); }}><div class="dialog"><h2 id=${name}>${title}</h2>${children}</div></dialog>`;
}

/** A question before something that is not easily undone. `typed`: what must be typed first. */
export function Confirm({ title, children, yes, danger = true, typed = null, work, onClose }) {
  const [text, setText] = useState("");
  const action = useAction(work);
  const ready = typed === null || text === typed;
  async function confirm(event) {
    event.preventDefault();
    if (ready && (await action.run()) !== undefined) onClose();
  }
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${confirm}>
    <div class="prose">${children}</div>
    ${typed !== null && html`<label class="typed">Type <b><bdi>${typed}</bdi></b> to confirm
      <input class="input" autocomplete="off" spellcheck=${false} value=${text} onInput=${(event) => setText(event.target.value)} /></label>`}
    <${Failure} error=${action.error} />
    <div class="buttons end"><${Button} onClick=${onClose}>Leave it<//>
      <button class="btn ${danger ? "danger-fill" : "primary"}" disabled=${!ready || action.busy}>${action.busy ? "Working…" : yes}</button></div>
  </form><//>`;
}
