/* How well one tenant is protected, in words. */
import { relative, roughly } from "../lib/format.js";

/** "52 h of 24 h". */
export function age({ last_verified: last, age_allowed_seconds: allowed }) {
  if (!last) return "never";
  const old = roughly(Date.now() - Date.parse(last.completed_at));
  return allowed ? `${old} of ${roughly(allowed * 1000)}` : old;
}

/** The sentence of a tenant's page. */
export function standing(name, row) {
  if (!row) return `${name}.`;
  if (row.state === "paused") return `${name} is paused: no schedule backs it up.`;
  if (!row.last_verified) return `${name} has no verified backup yet.`;
  const old = roughly(Date.now() - Date.parse(row.last_verified.completed_at));
  const allowed = row.age_allowed_seconds ? `; its schedule allows ${roughly(row.age_allowed_seconds * 1000)}` : "";
  if (row.state === "at_risk") return `${name} has had no verified backup for ${old}${allowed}.`;
  return `${name} has a verified backup of ${relative(row.last_verified.completed_at)}${allowed}.`;
}
