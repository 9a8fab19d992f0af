/* The address holds the view: pages and panels make a new entry of the history, filters replace it. */
import { useEffect, useState } from "./ui.js";

export const BASE = "/console";
const listeners = new Set();

/** The page's path below the base and its query as an object. */
export function here() {
  const path = location.pathname.slice(BASE.length).replace(/\/+$/, "") || "/";
  return { path, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

/** An address of the console; empty values are left out of the query. */
export function to(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const found = `${BASE}${path === "/" ? "" : path}`;
  return given.length ? `${found}?${new URLSearchParams(given)}` : found;
}

export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"]({ inside: true }, "", address);
  for (const each of [...listeners]) each();
}

/** Go back if the entry before is ours, else to that address. */
export function back(address) {
  if (history.state?.inside) history.back();
  else go(address, { replace: true });
}

/** Change parts of the query; null takes one away. */
export function requery(changes, options = { replace: true }) {
  const { path, query } = here();
  go(to(path, { ...query, ...changes }), options);
}

export function useRoute() {
  const [route, setRoute] = useState(here);
  useEffect(() => {
    const look = () => setRoute(here());
    listeners.add(look);
    return () => listeners.delete(look);
  }, []);
  return route;
}

addEventListener("popstate", () => { for (const each of [...listeners]) each(); });

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.pathname !== BASE && !link.pathname.startsWith(`${BASE}/`)) return;
  event.preventDefault();
  if (link.hash && link.pathname === location.pathname) {
    const found = document.querySelector(link.hash);
    found?.focus();
    return;
  }
  go(link.pathname + link.search);
});
