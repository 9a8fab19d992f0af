"""Which of a tenant's backups go, looked at after each new one and once a day.

The tenant's summary stands on a due list; retention's own time, and the clock's when it was last looked at, stand there
too. Nothing is remembered of single backups: each look plans anew, by the settings as they are.
"""

from contextlib import suppress
from datetime import datetime, timedelta

from stowage.aws import table
from stowage.aws.table import ABSENT, ConditionFailedError, Item
from stowage.backups.retention import Candidate, Fate, Retention, plan, retention_time
from stowage.basics.ids import parse_rfc3339, rfc3339
from stowage.runs.clock import expire
from stowage.runs.kinds import EXPORT_BACKUP
from stowage.runs.record import Run
from stowage.runs.store import change_run, list_history
from stowage.schedules import rules_of, settings_of, zone_of
from stowage.schedules.records import PlannedBackup, RetentionPlan

AGAIN, SOON = timedelta(days=1), timedelta(minutes=1)
MOST = 200
"""So many backups go, or get another date, at one look."""
NEAR = timedelta(minutes=1)
"""A date that is nearer to the right one is not corrected."""
_READ = 100_000


def look_after(item: Item, now: datetime) -> None:
    """Let a tenant's backups expire that no rule keeps, oldest first; the sweep deletes their files then."""
    tenant, key = item["tenant"], (item["pk"], item["sk"])
    unchanged = {"due_at": item["due_at"]}
    stored = _stored(tenant)
    if not stored:
        with suppress(ConditionFailedError):  # one has just been made
            table.update(*key, {}, remove=("due_list", "due_at"), when=unchanged)
        return
    wanted = settings_of(tenant)
    rules = rules_of(wanted)
    candidates = list(map(_candidate, stored))
    reached, looked_at = (parse_rfc3339(item[name]) if name in item else None for name in ("kept_as_of", "looked_at"))
    as_of = retention_time(reached, looked_at, max(each.at for each in candidates), now)
    fates = plan(candidates, rules, zone_of(wanted), as_of)
    by_id = {run.id: run for run in stored}
    going = [by_id[fate.backup.id] for fate in reversed(fates) if not fate.stays]
    misdated = [run for run in stored if _misses(run, rules)]
    for run in going[:MOST]:
        expire(run, now)  # one that is in use has its turn at the next look
    for run in misdated[:MOST]:
        change_run(run, {"expires_at": _earliest(run, rules)}, when={"status": run.status, "expired_at": ABSENT})
    more = max(len(going), len(misdated)) > MOST
    looked = {
        "due_at": rfc3339(now + (SOON if more else AGAIN)),
        "kept_as_of": rfc3339(as_of),
        "looked_at": rfc3339(now),
    }
    with suppress(ConditionFailedError):  # a backup has just been made, so the next look comes at once
        table.update(*key, looked, when=unchanged)


def preview_plan(tenant: str, rules: Retention, timezone: str, now: datetime) -> RetentionPlan:
    """What would become of a tenant's stored backups by these rules."""
    fates = plan(map(_candidate, _stored(tenant)), rules, timezone, now)
    return RetentionPlan(
        kept=[_planned(fate) for fate in fates if fate.stays],
        deleted=[_planned(fate) for fate in fates if not fate.stays],
    )


def _stored(tenant: str) -> list[Run]:
    """The backups of a tenant that are stored."""
    found = list_history(tenant, EXPORT_BACKUP.history, {"status": "completed", "expired_at": ABSENT}, _READ)
    return [run for run in found if run.is_planned]


def _candidate(run: Run) -> Candidate:
    is_verified = bool(run.verification and run.verification["ok"])
    return Candidate(run.id, _ended(run), is_verified=is_verified, is_pinned=run.pinned_at is not None)


def _ended(run: Run) -> datetime:
    return parse_rfc3339(run.completed_at or run.created_at)


def _earliest(run: Run, rules: Retention) -> str:
    """The earliest moment at which a backup may go."""
    return rfc3339(_ended(run) + timedelta(days=rules.days))


def _misses(run: Run, rules: Retention) -> bool:
    due = _ended(run) + timedelta(days=rules.days)
    return run.expires_at is None or abs(parse_rfc3339(run.expires_at) - due) > NEAR


def _planned(fate: Fate) -> PlannedBackup:
    return PlannedBackup(id=fate.backup.id, completed_at=rfc3339(fate.backup.at), reason=", ".join(fate.reasons))
