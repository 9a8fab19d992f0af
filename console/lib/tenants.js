/* The tenant that a page is about: the address's, else the last one used, else the first. */
import { requery } from "./router.js";
import { get, prefer, preferences } from "./store.js";

export function tenantOf(query) {
  const known = get().tenants;
  const wanted = query.tenant ?? preferences().tenant;
  return known.find((each) => each.id === wanted)?.id ?? query.tenant ?? known[0]?.id;
}

export function choose(tenant, changes = {}) {
  prefer({ tenant });
  requery({ tenant, ...changes });
}

export const base = (tenant) => `/api/guilds/${encodeURIComponent(tenant)}`;
export const entityOf = (name) => get().entities?.find((each) => each.name === name);
