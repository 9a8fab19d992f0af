/* Top bar, rail, tabs; dialogs and toasts that any page may call for. */
import { forget, read, signOut } from "../lib/api.js";
import { plain, relative } from "../lib/format.js";
import { useKeys } from "../lib/keys.js";
import { useLive } from "../lib/poll.js";
import { go, to } from "../lib/router.js";
import { get, may, set, unsay, useStore } from "../lib/store.js";
import { html, useEffect, useState } from "../lib/ui.js";
import { Help } from "./Help.js";
import { Icon } from "./Icon.js";
import { Menu } from "./Menu.js";
import { Dialog } from "./Dialog.js";
import { Palette } from "./Palette.js";
import { SignInDialog } from "./SignInForm.js";

const newItems = () => [
  may("operator") && { text: "Export", href: to("/new/export") },
  may("operator") && { text: "Import", href: to("/new/import") },
  may("admin") && { text: "Backup", href: to("/new/backup") },
].filter(Boolean);

const places = () => [
  { id: "home", text: "Home", path: "/" }, { id: "runs", text: "Runs", path: "/runs" },
  { id: "tenants", text: "Tenants", path: "/tenants" },
  { head: "Data" }, { id: "records", text: "Records", path: "/records" }, { id: "trash", text: "Trash", path: "/trash" },
  { id: "operations", text: "Operations", path: "/operations", icon: "undo" },
  ...(may("admin") ? [{ head: "System" }, { id: "audit", text: "Audit", path: "/audit" }, { id: "keys", text: "API keys", path: "/keys" }] : []),
];

/** What the rail counts: runs that go on, tenants at risk. */
function useCounts() {
  const running = useLive(
    (signal) => read("/api/jobs", { status: "running", limit: 100 }, { signal }), [], { isBusy: (answer) => answer.data.length > 0 },
  );
  const fleet = useLive((signal) => read("/api/backup/stats", {}, { signal }), [], { every: 60000 });
  const count = running.data && `${running.data.data.length}${running.data.next_cursor ? "+" : ""}`;
  const risk = fleet.data?.data?.tenants?.at_risk ?? 0;
  useEffect(() => set({ running: count }), [count]);
  return { runs: count > 0 || count?.endsWith?.("+") ? { text: `${count} running` } : null, tenants: risk ? { text: `${risk} at risk`, bad: true, short: risk } : null };
}

function Pulse() {
  const at = useStore((state) => state.updatedAt);
  const offline = useStore((state) => state.offline);
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return html`<div class="pulse"><b><${Icon} name=${offline ? "warn" : "ok"} size=${12} tone=${offline ? "warn" : ""} />${offline ? "No connection" : "Live"}</b>
    ${at ? `Updated ${relative(at)}` : "Not updated yet"}</div>`;
}

export function Shell({ route, place, children }) {
  const me = useStore((state) => state.me);
  const counts = useCounts();
  const [open, setOpen] = useState(null);
  const items = newItems();
  useKeys({
    "Ctrl k": () => setOpen("palette"), "/": () => (document.querySelector("main [data-search]") ?? document.querySelector(".search")).focus(),
    "?": () => setOpen("help"), "g h": () => go(to("/")), "g r": () => go(to("/runs")), "g t": () => go(to("/tenants")),
    "g a": () => may("admin") && go(to("/audit")), n: () => items.length && setOpen("new"),
  }, [items.length]);
  const leave = async () => {
    await signOut().catch(() => {});
    forget();
    go(to("/sign-in"));
  };
  const link = (each) => html`<a href=${to(each.path)} aria-current=${place === each.id ? "page" : undefined}>
    <${Icon} name=${each.icon ?? each.id} />${each.text}${counts[each.id] && html`<span class="count ${counts[each.id].bad ? "bad" : ""}">${counts[each.id].text}</span>`}</a>`;
  return html`<a class="skip" href="#main">Skip to content</a>
    <div class="app">
      <header class="top"><a class="brand" href="/console"><${Icon} name="logo" size=${20} />Stowage</a>
        <button type="button" class="search" onClick=${() => setOpen("palette")}><${Icon} name="find" />Search or go to…<kbd>Ctrl K</kbd></button>
        <span class="push"></span>
        ${items.length > 0 && html`<${Menu} kind="primary" icon="plus" label="New" right items=${items} />`}
        <button type="button" class="search small" aria-label="Search or go to" onClick=${() => setOpen("palette")}><${Icon} name="find" size=${18} /></button>
        <button type="button" class="caller" onClick=${() => setOpen("me")}><bdi>${plain(me.sub)}</bdi><span>\u00a0· ${me.role}</span></button></header>
      <nav class="rail" aria-label="Main">${places().map((each) => (each.head ? html`<h2>${each.head}</h2>` : link(each)))}<${Pulse} /></nav>
      <main id="main" tabindex="-1">${children}</main>
      <nav class="tabs" aria-label="Main, small screens">${places().slice(0, 3).map((each) => html`<a href=${to(each.path)}
        aria-current=${place === each.id ? "page" : undefined}><${Icon} name=${each.id} size=${18} />${each.text}
        ${counts[each.id]?.short && html`<span class="count">${counts[each.id].short}<span class="unseen"> at risk</span></span>`}</a>`)}
        <button type="button" onClick=${() => setOpen("more")}><${Icon} name="more" size=${18} />More</button></nav>
    </div>
    ${open === "palette" && html`<${Palette} places=${places()} items=${items} onClose=${() => setOpen(null)} />`}
    ${open === "help" && html`<${Help} onClose=${() => setOpen(null)} />`}
    ${open === "new" && html`<${Choices} title="New" items=${items} onClose=${() => setOpen(null)} />`}
    ${open === "more" && html`<${Choices} title="More" onClose=${() => setOpen(null)} items=${[
      ...places().slice(3).filter((each) => each.id).map((each) => ({ text: each.text, href: to(each.path) })),
      { text: `${plain(me.sub)}, ${me.role}`, run: () => setOpen("me") }]} />`}
    ${open === "me" && html`<${Account} me=${me} leave=${leave} help=${() => setOpen("help")} onClose=${() => setOpen(null)} />`}
    <${Overlays} />`;
}

function Choices({ title, items, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose}><ul class="choices">${items.map((item) => html`<li>${item.href
    ? html`<a class="btn" href=${item.href} onClick=${onClose}>${item.text}</a>`
    : html`<button type="button" class="btn" onClick=${item.run}>${item.text}</button>`}</li>`)}</ul><//>`;
}

function Account({ me, leave, help, onClose }) {
  return html`<${Dialog} title="You" onClose=${onClose}><dl class="kv"><dt>Name</dt><dd><bdi>${plain(me.sub)}</bdi></dd>
    <dt>Role</dt><dd>${me.role}</dd><dt>Tenants</dt><dd>${me.tenants.includes("*") ? "all" : me.tenants.length}</dd>
    <dt>Session ends</dt><dd>${relative(me.expiresAt)}</dd></dl>
    <div class="buttons end"><button type="button" class="btn" onClick=${help}>Keys</button><a class="btn" href="/docs" target="_blank" rel="noopener">API document</a>
    <button type="button" class="btn" onClick=${leave}>Sign out</button></div><//>`;
}

function Overlays() {
  const toasts = useStore((state) => state.toasts);
  const polite = useStore((state) => state.polite);
  const assertive = useStore((state) => state.assertive);
  const asks = useStore((state) => state.asksToSignIn);
  return html`<div class="toasts" role="region" aria-label="Messages">${toasts.map((each) => html`<div class="toast" key=${each.id}><${Icon} name=${each.tone} tone=${each.tone} />
      <p>${each.text}</p>${each.action && html`<button type="button" class="btn small" onClick=${() => { unsay(each.id); each.action.run(); }}>${each.action.text}</button>`}
      <button type="button" class="btn small quiet" aria-label="Dismiss" onClick=${() => unsay(each.id)}><${Icon} name="close" /></button></div>`)}</div>
    <div class="unseen" role="status" aria-live="polite">${polite}</div><div class="unseen" role="alert">${assertive}</div>
    ${asks && html`<${SignInDialog} name=${get().me?.sub} />`}`;
}
