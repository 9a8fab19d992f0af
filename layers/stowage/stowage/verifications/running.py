"""A verification's attempt: level 2 in the worker or its image alone, level 3 beside a database."""

from stowage.backups.verifying import Check, check, first_wrong, read_through
from stowage.basics.errors import RunError
from stowage.basics.ids import rfc3339
from stowage.postgres.dumps.script import Script
from stowage.runs.attempt import Attempt
from stowage.runs.kinds import TRIAL_LEVEL
from stowage.runs.store import find_run
from stowage.verifications.trial import try_restore

TRIAL_CHECKS = ("file", "restored", "same")
"""In the order in which a trial makes them; it ends with the first that is not passed."""


def verify_backup(attempt: Attempt) -> None:
    """Verify the backup that the run uses, and write the findings to the manifest, good or bad.

    RunError if any check fails, `backup_damaged`, or of a trial `restore_refused` or `restore_differs`: the run fails
    then, so that nobody takes it for a proof.
    """
    run, level = attempt.run, attempt.run.spec["level"]
    attempt.reporter.report("checking", "Looking for the file.")
    checks, rows, failure = (_try_out if level == TRIAL_LEVEL else _read_again)(attempt)
    verification = {"level": level, "at": rfc3339(attempt.clock()), "ok": failure is None}
    facts = {"backup_id": run.uses, "verification": verification, "checks": checks}
    attempt.finish(facts, rows=rows, failure=failure)
    if failure:
        raise failure


type Findings = tuple[list[Check], int, RunError | None]
"""The checks, the rows that were read, and what the first check that is not passed means for the run."""


def _read_again(attempt: Attempt) -> Findings:
    run = attempt.run
    checks, rows = read_through(find_run(run.tenant, str(run.uses)), attempt.reporter, Script())
    wrong = first_wrong(checks)
    damaged = RunError(f"The backup is damaged. {wrong['message']}", "backup_damaged") if wrong else None
    return checks, rows, damaged


def _try_out(attempt: Attempt) -> Findings:
    trial = try_restore(attempt)
    checks = [check(name, True, "") for name in trial.passed]
    if trial.failure:
        checks.append(check(TRIAL_CHECKS[len(checks)], False, trial.failure.message))
    return checks, trial.rows, trial.failure
