/* What needs attention, in words: a heading, a sentence, what can be done. */
import { date, relative, time } from "../lib/format.js";
import { to } from "../lib/router.js";
import { standing } from "./protection.js";
import { NO_ADVICE, REMEDIES } from "./remedies.js";

const exactly = (moment) => `${date(moment)}, ${time(moment)}`;

/** By kind: title and text from an entry's tenant and facts, and where to look. */
const PROBLEMS = {
  declaration: ({ tenant, facts }) => ({ title: `${tenant ?? "All tenants"}: the declaration of ${facts.entity} no longer fits`, text: facts.sentence, href: tenant && to(`/tenants/${tenant}`) }),
  at_risk: ({ facts }) => ({
    title: standing(facts.name, facts).replace(/\.$/, ""), text: trouble(facts), href: to(`/tenants/${facts.project_id}`), run: facts.last_failure?.id,
  }),
  missed: ({ facts }) => ({ title: `${facts.name} did not run at ${exactly(facts.missed_at)} UTC`, text: "A verified backup is still in time.", href: to("/runs", { tenant: facts.project_id, type: "export_backup" }) }),
  failing: ({ facts }) => ({ title: `${facts.name}: ${facts.last_failure.in_a_row > 1 ? `${facts.last_failure.in_a_row} backups` : "the last backup"} failed`, text: REMEDIES.get(facts.last_failure.code)?.title ?? NO_ADVICE, href: to("/runs", { tenant: facts.project_id, status: "failed" }), run: facts.last_failure.id }),
  destination: ({ tenant, facts }) => ({ title: `${tenant}: copies no longer reach ${facts.name ?? facts.type ?? "a destination"}`, text: facts.sentence ?? facts.error ?? "The primary copy is safe.", href: to(`/tenants/${tenant}`, { tab: "settings" }) }),
  webhook: ({ facts }) => ({ title: `A webhook is off: ${facts.url ?? ""}`, text: facts.sentence ?? "" }),
};

/** What keeps a tenant from being safe, as far as its protection says. */
function trouble({ last_failure: failure, missed_at: missed, next_run_at: next }) {
  if (failure) return `${failure.in_a_row > 1 ? `${failure.in_a_row} runs failed` : "The last run failed"}: ${REMEDIES.get(failure.code)?.title ?? NO_ADVICE}`;
  if (missed) return `It did not run on ${exactly(missed)} UTC.`;
  return next ? `Its next backup is due ${relative(next)}.` : "No backup is scheduled.";
}

const any = ({ kind, tenant, facts }) => ({
  title: `${tenant ? `${tenant}: ` : ""}${kind.replaceAll("_", " ")}`, text: facts.sentence ?? "", href: tenant && to(`/tenants/${tenant}`), run: facts.job_id,
});

export const wordsOf = (entry) => (PROBLEMS[entry.kind] ?? any)({ ...entry, facts: entry.facts ?? {} });
