/* The records of a tenant by entity: a table with the entity's filters, or one record. */
import { go, to } from "../../lib/router.js";
import { get } from "../../lib/store.js";
import { entityOf, tenantOf } from "../../lib/tenants.js";
import { html, useEffect } from "../../lib/ui.js";
import { Empty } from "../../parts/basics.js";
import { Record } from "./Record.js";
import { RecordTable } from "./RecordTable.js";

export function Records({ query, tenant, entity, id }) {
  const first = get().entities?.find((each) => each.name === "accounts") ?? get().entities?.[0];
  const chosen = tenantOf({ tenant });
  useEffect(() => { if ((!tenant || !entity) && first && chosen) go(to(`/records/${chosen}/${first.name}`), { replace: true }); }, [tenant, entity]);
  if (!first) return html`<h1>Records</h1><${Empty}>No entity is declared.<//>`;
  if (!tenant || !entity) return html`<h1>Records</h1>`;
  const declared = entityOf(entity);
  if (!declared) return html`<h1>Records</h1><${Empty}>There is no entity of this name. <a href=${to(`/records/${tenant}/${first.name}`)}>${first.name}</a><//>`;
  return id ? html`<${Record} tenant=${tenant} entity=${declared} id=${id} />` : html`<${RecordTable} tenant=${tenant} entity=${declared} query=${query} />`;
}
