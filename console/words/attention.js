/* What needs attention, in words: a heading, a sentence, what can be done. */
import { date, roughly, time } from "../lib/format.js";
import { to } from "../lib/router.js";

const hours = (milliseconds) => roughly(milliseconds);
const at = (moment) => `${date(moment)}, ${time(moment)}`;

/** By kind: title and text from an entry's tenant and facts, and where to look. */
const KINDS = {
  declaration: ({ tenant, facts }) => ({ title: `${tenant ?? "All tenants"}: the declaration of ${facts.entity} no longer fits`, text: facts.sentence, href: tenant && to(`/tenants/${tenant}`) }),
  unprotected: ({ tenant, facts, since }) => ({
    title: `${tenant} has had no verified backup${facts.age_hours !== undefined && facts.age_hours !== null ? ` for ${hours(facts.age_hours * 3600_000)}` : facts.last_verified_at ? ` since ${at(facts.last_verified_at)}` : " yet"}${facts.allowed_hours ? `; its schedule allows ${facts.allowed_hours} h` : ""}`,
    text: facts.sentence ?? `At risk since ${at(since)}.`, href: to(`/tenants/${tenant}`), run: facts.job_id,
  }),
  missed: ({ tenant, facts, since }) => ({ title: `${tenant} did not run at ${at(facts.due ?? facts.slot ?? since)}`, text: facts.sentence ?? facts.reason ?? "Its backup was due and did not begin.", href: to("/runs", { tenant, type: "export_backup" }) }),
  failing: ({ tenant, facts, since }) => ({ title: `${tenant}: ${facts.failures ?? facts.runs ?? "the last"} backups failed`, text: facts.sentence ?? facts.error ?? facts.last_error ?? `Since ${at(since)}.`, href: to("/runs", { tenant, status: "failed" }), run: facts.job_id }),
  destination: ({ tenant, facts }) => ({ title: `${tenant}: copies no longer reach ${facts.name ?? facts.type ?? "a destination"}`, text: facts.sentence ?? facts.error ?? "The primary copy is safe.", href: to(`/tenants/${tenant}`, { tab: "settings" }) }),
  webhook: ({ facts }) => ({ title: `A webhook is off: ${facts.url ?? ""}`, text: facts.sentence ?? "" }),
};

const any = ({ kind, tenant, facts }) => ({
  title: `${tenant ? `${tenant}: ` : ""}${kind.replaceAll("_", " ")}`, text: facts.sentence ?? "", href: tenant && to(`/tenants/${tenant}`), run: facts.job_id,
});

export const wordsOf = (entry) => (KINDS[entry.kind] ?? any)({ ...entry, facts: entry.facts ?? {} });
