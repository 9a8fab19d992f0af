"""Each tenant's summary: its last backup that succeeded, its newest verified one that is still kept, its last failure.

Whoever changes a backup's record writes the summary in the same transaction, so it is read without any history. The
schedule writes its own part there (`noting`), so that the summaries alone say how well all tenants are protected.
"""

from collections.abc import Iterable, Iterator
from zlib import crc32

from stowage.aws import table
from stowage.aws.table import ABSENT, Item, Update, Write
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run, Status

SHARDS = 8
"""The summaries of all tenants lie in so many partitions."""
RETENTION_LIST = "RETENTION"
"""The due list of the summaries of tenants that have backups; due when one should look which of them go."""
SIZES = 14
"""So many sizes of the last backups are kept."""
_PAGE = 50


def summing_up(before: Run | None, after: Run | None) -> list[Write]:
    """The write that brings a tenant's summary up to date with one change of a backup; None stands for no backup. It is
    refused if anybody has changed the summary meanwhile.
    """
    run = after or before
    assert run is not None, "something changes"
    if not kind_of(run.kind).protects:
        return []
    succeeds, fails = (_becomes(status, before, after) for status in ("completed", "failed"))
    goes = after is not None and after.status == "completed" and after.expired_at is not None
    if not (succeeds or fails or goes or _is_verified(before) or _is_verified(after)):
        return []
    summary = read_summary(run.tenant)
    changes: Item = {}
    removed: set[str] = set()
    if after and succeeds:
        changes |= {"due_list": RETENTION_LIST, "due_at": after.completed_at}
    if after and succeeds and _is_newest(after, summary.get("last_success")):
        changes["last_success"] = {**_when(after), "bytes": _bytes(after)}
        changes["sizes"] = " ".join([*summary.get("sizes", "").split(), str(_bytes(after))][-SIZES:])
        if _is_newest(after, summary.get("last_failure")):
            removed |= {"last_failure", "failures", "failing_since"} & summary.keys()
    if after and fails and all(_is_newest(after, summary.get(name)) for name in ("last_success", "last_failure")):
        changes["last_failure"] = {**_when(after), "code": after.error.code if after.error else "failed"}
        changes["failures"] = summary.get("failures", 0) + 1
        changes["failing_since"] = summary["failing_since"] if summary.get("failures") else after.completed_at
    verified = summary.get("last_verified")
    if after and after.verification and _is_verified(after):
        if _is_newest(after, verified):
            changes["last_verified"] = {**_when(after), "verified_at": after.verification["at"]}
    elif verified and verified["id"] == run.id:
        following = _newest_verified(run)
        changes |= {"last_verified": following} if following else {}
        removed |= set() if following else {"last_verified"}
    version = summary.get("version", 0)
    if changes or removed:
        changes["version"] = version + 1
    elif not goes:
        return []
    # A backup that goes must find the summary as it was read, even if nothing changes there: it may just be verified,
    # or the one that was kept instead of it may be gone.
    changes["tenant"] = run.tenant
    return [Update(*_key(run.tenant), changes, remove=tuple(removed), when={"version": version or ABSENT})]


def noting(tenant: str, notes: Item) -> Update:
    """The write that puts down in a tenant's summary something that no backup's record tells; None takes it away."""
    set_here = {name: value for name, value in notes.items() if value is not None}
    return Update(*_key(tenant), {"tenant": tenant, **set_here}, remove=tuple(notes.keys() - set_here))


def read_summary(tenant: str) -> Item:
    """`{"last_success": {"id", "at", "as_of", "bytes"}, "last_verified": {"id", "at", "as_of", "verified_at"},
    "last_failure": {"id", "at", "as_of", "code"}, "failures", "failing_since", "sizes"}`, as far as there are such
    backups. `at` is when the backup ended and `as_of` when it began (not in summaries of versions before 0.2),
    `failures` how many have failed since the last that succeeded, `sizes` the bytes of the last 14 that did, oldest
    first.
    """
    return table.get(*_key(tenant)) or {}


def read_summaries(tenants: Iterable[str] | None) -> Iterator[Item]:
    """The summaries of these tenants (None: of all), as far as they have one."""
    if tenants is None:
        for shard in range(SHARDS):
            yield from table.query(f"FLEET#{shard}", prefix="TENANT#")
    else:
        yield from filter(None, map(read_summary, tenants))


def _is_newest(run: Run, known: Item | None) -> bool:
    return known is None or known["id"] <= run.id


def _is_verified(run: Run | None) -> bool:
    """Whether it is a verified backup that is still kept."""
    if run is None or run.status != "completed" or run.expired_at:
        return False
    return bool(run.verification and run.verification["ok"])


def _newest_verified(but: Run) -> Item | None:
    """The newest verified backup of a tenant other than one. Runs are read, newest first, until it is found."""
    items = table.query(
        but.pk, prefix=f"{kind_of(but.kind).history}#", index="by_kind", newest_first=True, page_size=_PAGE
    )
    for run in map(Run.model_validate, items):
        if run.id != but.id and _is_verified(run) and run.verification:
            return {**_when(run), "verified_at": run.verification["at"]}
    return None


def _becomes(status: Status, before: Run | None, after: Run | None) -> bool:
    return after is not None and after.status == status and (before is None or before.status != status)


def _when(run: Run) -> Item:
    return {"id": run.id, "at": run.completed_at, "as_of": run.attempt_started_at or run.created_at}


def _bytes(run: Run) -> int:
    return run.outcome.size_bytes if run.outcome else 0


def _key(tenant: str) -> tuple[str, str]:
    return f"FLEET#{crc32(tenant.encode()) % SHARDS}", f"TENANT#{tenant}"
