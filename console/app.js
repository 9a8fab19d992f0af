/* Begins: who calls, then the page of the address. Pages other than the first come when they are asked for. */
import { loadCaller } from "./lib/api.js";
import { here, useRoute } from "./lib/router.js";
import { get, useStore } from "./lib/store.js";
import { html, render, useEffect, useRef, useState } from "./lib/ui.js";
import { Button, Empty, Failure, Loading } from "./parts/basics.js";
import { Shell } from "./parts/Shell.js";

/** Pattern, the page's module, its component, and the part of the rail that it belongs to. */
const PAGES = [
  [/^\/$/, () => import("./pages/home/Home.js"), "Home", "home"],
  [/^\/runs$/, () => import("./pages/runs/Runs.js"), "Runs", "runs"],
  [/^\/tenants$/, () => import("./pages/tenants/Tenants.js"), "Tenants", "tenants"],
  [/^\/tenants\/(?<tenant>[^/]+)$/, () => import("./pages/tenant/Tenant.js"), "Tenant", "tenants"],
  [/^\/new\/export$/, () => import("./pages/new/NewExport.js"), "NewExport", "new"],
  [/^\/new\/backup$/, () => import("./pages/new/NewBackup.js"), "NewBackup", "new"],
  [/^\/new\/import$/, () => import("./pages/import/Import.js"), "Import", "new"],
  [/^\/records(\/(?<tenant>[^/]+)(\/(?<entity>[^/]+)(\/(?<id>[^/]+))?)?)?$/, () => import("./pages/records/Records.js"), "Records", "records"],
  [/^\/trash$/, () => import("./pages/trash/Trash.js"), "Trash", "trash"],
  [/^\/operations$/, () => import("./pages/operations/Operations.js"), "Operations", "operations"],
  [/^\/audit$/, () => import("./pages/audit/Audit.js"), "Audit", "audit"],
  [/^\/keys$/, () => import("./pages/keys/ApiKeys.js"), "ApiKeys", "keys"],
  [/^\/restore\/(?<backup>[^/]+)$/, () => import("./pages/restore/Restore.js"), "Restore", "tenants"],
  [/^\/compare\/(?<job>[^/]+)$/, () => import("./pages/compare/Compare.js"), "Compare", "tenants"],
  [/^\/sign-in$/, () => import("./pages/sign-in/SignIn.js"), "SignIn", "sign-in"],
];

function match(path) {
  for (const [pattern, load, name, place] of PAGES) {
    const found = pattern.exec(path);
    if (found) return { load, name, place, parts: Object.fromEntries(Object.entries(found.groups ?? {}).map(([k, v]) => [k, v && decodeURIComponent(v)])) };
  }
  return null;
}

const loaded = new Map();

function Page({ route }) {
  const found = match(route.path);
  const [page, setPage] = useState(() => loaded.get(found?.name));
  const [error, setError] = useState(null);
  const shown = useRef(null);
  useEffect(() => {
    if (!found) return;
    setError(null);
    const known = loaded.get(found.name);
    if (known) setPage(() => known);
    else {
      found.load().then((module) => {
        loaded.set(found.name, module[found.name]);
        setPage(() => module[found.name]);
      }, () => setError({ status: 0, message: "" }));
    }
  }, [found?.name]);
  const ready = found && page && loaded.get(found.name) === page;
  useEffect(() => {
    const heading = document.querySelector("main h1");
    if (!ready || !heading) return;
    document.title = `${heading.textContent.slice(0, 80)} · Stowage`;
    if (shown.current !== null && shown.current !== route.path) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      document.querySelector("main").scrollTop = 0;
    }
    shown.current = route.path;
  }, [ready, route.path]);
  if (!found) return html`<h1>Not found</h1><${Empty}>There is no page at this address. <a href="/console">Home</a><//>`;
  if (error) return html`<h1>Stowage</h1><${Failure} error=${error} retry=${() => location.reload()} />`;
  if (!ready) return html`<h1 class="unseen">Loading</h1><${Loading} what="the page" rows=${10} />`;
  return html`<${page} query=${route.query} ...${found.parts} key=${route.path} />`;
}

function App() {
  const route = useRoute();
  const me = useStore((state) => state.me);
  if (!me || route.path === "/sign-in") return html`<${Page} route=${route} />`;
  return html`<${Shell} route=${route} place=${match(route.path)?.place}><${Page} route=${route} /><//>`;
}

async function begin() {
  const root = document.getElementById("app");
  const { path } = here();
  if (path !== "/sign-in") {
    try {
      await loadCaller();
    } catch (error) {
      if (error.status !== 401) {
        root.replaceChildren();
        render(html`<main><h1>Stowage</h1><${Failure} error=${error} /><p><${Button} onClick=${() => location.reload()}>Load the page again<//></p></main>`, root);
        return;
      }
      const next = path === "/" && !location.search ? "" : `?next=${encodeURIComponent(location.pathname + location.search)}`;
      history.replaceState(null, "", `/console/sign-in${next}`);
    }
  }
  root.replaceChildren();
  render(html`<${App} />`, root);
}

if (!get().me) begin();
