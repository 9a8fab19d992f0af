/* Small things that every page is made of. */
import { ApiError } from "../lib/api.js";
import { exact, plain, relative, short, time } from "../lib/format.js";
import { say } from "../lib/store.js";
import { html, useEffect, useRef, useState } from "../lib/ui.js";
import { explain } from "../words/states.js";
import { Icon } from "./Icon.js";

/** A name out of data: markup stays text, its direction stays its own, what cannot be seen is shown. */
export const Name = ({ of, mono = false }) => html`<bdi class=${mono ? "mono" : ""}>${plain(of)}</bdi>`;

/** A moment: relative or short, the exact one on hover and to those who hear it. */
export function Time({ at, form = "relative" }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 10000);
    return () => clearInterval(timer);
  }, []);
  if (!at) return html`<span class="dim">never</span>`;
  const words = form === "short" ? short(at, now) : form === "exact" ? exact(at) : relative(at, now);
  return html`<time datetime=${new Date(at).toISOString()} title=${exact(at)}>${words}</time>`;
}

export function Button({ kind = "", small = false, busy = false, icon, children, class: extra = "", ...rest }) {
  return html`<button type="button" class="btn ${kind} ${small ? "small" : ""} ${extra}" ...${rest}
    aria-disabled=${busy ? "true" : undefined} onClick=${busy ? (event) => event.preventDefault() : rest.onClick}>
    ${icon && html`<${Icon} name=${icon} size=${14} />`}${children}</button>`;
}

export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 2000);
    } catch {
      say("The browser does not let pages copy. Choose the text and copy it by hand.", { tone: "bad" });
    }
  }
  return html`<button type="button" class="btn small" onClick=${copy}>${done ? "Copied" : label}</button>`;
}

export const Code = ({ text }) => html`<div class="code"><code>${text}</code><${Copy} text=${text} /></div>`;

/** A bar with words; `share` from 0 to 1, null while it is not known. */
export function Meter({ share, words }) {
  const value = share === null ? null : Math.max(0, Math.min(100, Math.round(share * 100)));
  return html`<span class="meter" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${value ?? undefined}
    aria-label="Progress" aria-valuetext=${words}><i style=${{ width: `${value ?? 8}%` }}></i></span>`;
}

/** Words in the place of what is still to come; nothing for the first 300 ms. */
export function Loading({ what, rows = 6 }) {
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setShown(true), 300);
    return () => clearTimeout(timer);
  }, []);
  const height = `${rows * 40}px`;
  return html`<div class="loading" style=${{ minHeight: height }} role="status">${shown && `Loading ${what}…`}</div>`;
}

export const Empty = ({ children, title }) =>
  html`<div class="empty">${title && html`<p class="strong">${title}</p>`}<p>${children}</p></div>`;

/** What went wrong, and what to do about it. `at` is the moment of the answer still shown. */
export function Failure({ error, at, retry, all }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  if (!error) return null;
  const { text, again } = explain(error, at);
  return html`<div class="notice bad-ground" role="alert"><${Icon} name="bad" tone="bad" /><p>${text}</p><span class="push"></span>
    ${again && retry && html`<${Button} small onClick=${retry}>Try again<//>`}
    ${error.status === 404 && all}</div>`;
}

/** Runs something that asks the API; knows whether it goes on, and says in words what failed. */
export function useAction(work) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const going = useRef(false);
  async function run(...given) {
    if (going.current) return undefined;
    going.current = true;
    setBusy(true);
    setError(null);
    try {
      return await work(...given);
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure);
      return undefined;
    } finally {
      going.current = false;
      setBusy(false);
    }
  }
  return { run, busy, error, clear: () => setError(null) };
}

/** One action out of a list or panel: a toast says how it went, and offers to try again with the same key. */
export async function act(words, work, key = crypto.randomUUID()) {
  try {
    const answer = await work(key);
    say(words);
    return answer;
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    const lost = failure.status === 0;
    say(lost ? "We did not hear back. Trying again cannot do it twice." : explain(failure).text, {
      tone: "bad", seconds: 20, action: lost ? { text: "Try again", run: () => act(words, work, key) } : null,
    });
    return undefined;
  }
}

/** A label, its field, a hint, and what is wrong with it. */
export function Field({ label, hint, error, children, id, wide = false }) {
  return html`<div class="field-row ${wide ? "wide" : ""}"><label for=${id}>${label}</label>${children}
    ${hint && html`<p class="meta dim" id="${id}-hint">${hint}</p>`}
    ${error && html`<p class="meta bad" id="${id}-error">${error}</p>`}</div>`;
}

export const asOf = (at) => (at ? `As of ${time(at)} UTC` : "");
