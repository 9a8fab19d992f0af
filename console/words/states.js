/* Every sentence about the state of a page or a run. */
import { date, span, time, timeWithSeconds } from "../lib/format.js";

/** What a failed request means to a person, and whether trying again makes sense. */
export function explain(error, at = null) {
  const request = error.requestId ? ` Request ${error.requestId.slice(0, 8)}.` : "";
  if (error.status === 0) {
    const shown = at ? ` This is the state of ${time(at)} UTC.` : "";
    const left = error.nextTry ? ` Trying again in ${Math.max(0, Math.round((error.nextTry - Date.now()) / 1000))} s.` : "";
    return { text: `No connection.${shown}${left}`, again: true };
  }
  if (error.status === 429) {
    const next = error.retryAfter ? ` Again at ${timeWithSeconds(new Date(Date.now() + error.retryAfter * 1000))} UTC.` : "";
    return { text: `${error.message}${next}`, again: true };
  }
  if (error.status >= 500) return { text: `The server failed: ${error.message}${request}`, again: true };
  if (error.status === 404) return { text: "There is nothing here, or you may not see it.", again: false };
  return { text: error.message, again: false };
}

export const KINDS = {
  export_backup: "Backup", export_logs: "Log backup", export: "Export", import: "Import", restore: "Restore", verify: "Verification",
  compare: "Comparison", replicate: "Copy", offboard: "Removal",
};

export const STATUSES = {
  pending: "Waiting", running: "Running", completed: "Completed", failed: "Failed", cancelled: "Cancelled", missed: "Did not run",
};

export const TRIGGERS = { manual: "By hand", schedule: "By schedule", retry: "Retried", api: "By the API" };

/** The mark of a run: its drawing, tone and word. A backup that nobody has proved is never green. */
export function markOf(job) {
  if (job.status === "running") return { icon: "run", tone: "run", word: "Running" };
  if (job.status === "pending") return { icon: "wait", tone: "idle", word: "Waiting" };
  if (job.status === "failed") return { icon: "bad", tone: "bad", word: "Failed" };
  if (job.status === "missed") return { icon: "bad", tone: "bad", word: "Did not run" };
  if (job.status === "cancelled") return { icon: "stop", tone: "idle", word: "Cancelled" };
  if (job.status === "expired") return { icon: "disc", tone: "idle", word: "Expired" };
  const failed = job.result?.failed ?? job.result?.files?.failed;
  if (job.type === "import" && failed) return { icon: "warn", tone: "warn", word: "Partly" };
  if (job.type !== "export_backup" || job.verification === undefined) return { icon: "ok", tone: "ok", word: "Completed" };
  if (job.verification === null) return { icon: "disc", tone: "idle", word: "Not verified" };
  return job.verification.ok
    ? { icon: "ok", tone: "ok", word: "Verified" } : { icon: "bad", tone: "bad", word: "Unreadable" };
}

export const PROTECTION = {
  at_risk: { icon: "bad", tone: "bad", word: "At risk" },
  soon_due: { icon: "warn", tone: "warn", word: "Soon due" },
  safe: { icon: "ok", tone: "ok", word: "Safe" },
  paused: { icon: "stop", tone: "idle", word: "Paused" },
};

export const STAGES = {
  created: "Waited for a slot", planning: "Plan", starting: "Start the worker", checking: "Check", copying: "Read the data",
  dumping: "Dump", storing: "Store the file", recording: "Record", retried: "Waited for a slot", verifying: "Verify", restoring: "Restore",
  comparing: "Compare", loading: "Load", reading: "Read the file", checking_rows: "Check the rows", swapping: "Swap", reverting: "Put back", writing: "Write the rows", replicating: "Copy",
};

/** "Backup of acme". */
export const titleOf = (job) => `${KINDS[job.type] ?? job.type} of `;

export const night = (moment) => `${date(moment)}, ${time(moment)}`;

export const took = (job) =>
  (job.started_at && job.completed_at ? span(new Date(job.completed_at) - new Date(job.started_at)) : "");
