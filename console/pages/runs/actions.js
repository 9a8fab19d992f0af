/* What can be done with a run, and how. */
import { change } from "../../lib/api.js";
import { go, to } from "../../lib/router.js";
import { may } from "../../lib/store.js";
import { act } from "../../parts/basics.js";

const UNFINISHED = ["pending", "running"];

/** The names of the actions that apply: the server's own list, else what the state allows. */
export function actionsOf(job) {
  if (job.actions) return job.actions;
  if (!may("operator")) return [];
  if (UNFINISHED.includes(job.status)) return ["cancel"];
  return ["failed", "cancelled"].includes(job.status) ? ["retry"] : [];
}

export const can = (job, action) => actionsOf(job).includes(action);

const said = (job, what) => `${what} of ${job.project_id}.`;

export const cancel = (job) => act(said(job, "Cancelling the run"), (key) => change("POST", `/api/jobs/${job.id}/cancel`, undefined, { key }));
export const retry = (job) => act(said(job, "Retrying the run"), (key) => change("POST", `/api/jobs/${job.id}/retry`, undefined, { key }));
export const verify = (job, level = 2) => act(said(job, "Verifying the backup"), (key) => change("POST", `/api/backup/${job.id}/verify`, { level }, { key }));
export const backUp = (tenant) => act(`Backing up ${tenant}.`, (key) => change("POST", "/api/backup/export", { project_id: tenant }, { key }));
export const pin = (job, on) => act(on ? "Pinned: it is neither expired nor deleted." : "No longer pinned.",
  (key) => change("POST", `/api/backup/${job.id}/${on ? "pin" : "unpin"}`, undefined, { key }));

export const revert = (job) => act(said(job, "Reverting the restore"), (key) => change("POST", `/api/backup/restore/${job.id}/revert`, undefined, { key }));

/** Set a backup against today, and go where the differences will stand. */
export async function compare(job) {
  const made = await act(said(job, "Comparing a backup"), (key) => change("POST", `/api/backup/${job.id}/compare`, {}, { key }));
  if (made) go(to(`/compare/${made.data.id}`));
}

/** The link to a run's file, if it left one that this caller may fetch. */
export function fileOf(job) {
  if (job.actions && !job.actions.includes("download")) return null;
  if (job.status !== "completed") return null;
  if (["export_backup", "export_logs"].includes(job.type)) return may("admin") ? job.result?.download_path ?? null : null;
  return job.result?.download_url ?? job.result?.downloadUrl ?? null;
}

export const runLink = (job, query = {}) => to("/runs", { ...query, run: job.id });
