"""Each tenant's summary: its last backup that succeeded, and its newest verified one that is still kept.

Whoever changes a backup's record writes the summary in the same transaction, so it is read without any history.
"""

from collections.abc import Iterable, Iterator
from zlib import crc32

from stowage.aws import table
from stowage.aws.table import ABSENT, Item, Update, Write
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run

SHARDS = 8
"""The summaries of all tenants lie in so many partitions."""
_PAGE = 50


def summing_up(before: Run | None, after: Run | None) -> list[Write]:
    """The write that brings a tenant's summary up to date with one change of a backup; None stands for no backup. It is
    refused if anybody has changed the summary meanwhile.
    """
    run = after or before
    assert run is not None, "something changes"
    if not kind_of(run.kind).protects:
        return []
    succeeds = after is not None and after.status == "completed" and (before is None or before.status != "completed")
    if not (succeeds or _is_verified(before) or _is_verified(after)):
        return []
    summary = read_summary(run.tenant)
    changes: Item = {}
    removed: tuple[str, ...] = ()
    if after and succeeds and _is_newest(after, summary.get("last_success")):
        changes["last_success"] = {"id": after.id, "at": after.completed_at, "bytes": _bytes(after)}
    verified = summary.get("last_verified")
    if after and after.verification and _is_verified(after):
        if _is_newest(after, verified):
            changes["last_verified"] = {
                "id": after.id,
                "at": after.completed_at,
                "verified_at": after.verification["at"],
            }
    elif verified and verified["id"] == run.id:
        following = _newest_verified(run)
        changes |= {"last_verified": following} if following else {}
        removed = () if following else ("last_verified",)
    if not changes and not removed:
        return []
    version = summary.get("version", 0)
    changes |= {"tenant": run.tenant, "version": version + 1}
    return [Update(*_key(run.tenant), changes, remove=removed, when={"version": version or ABSENT})]


def read_summary(tenant: str) -> Item:
    """`{"last_success": {"id", "at", "bytes"}, "last_verified": {"id", "at", "verified_at"}}`, as far as there are such
    backups; `at` is when the backup was complete.
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
            return {"id": run.id, "at": run.completed_at, "verified_at": run.verification["at"]}
    return None


def _bytes(run: Run) -> int:
    return run.outcome.size_bytes if run.outcome else 0


def _key(tenant: str) -> tuple[str, str]:
    return f"FLEET#{crc32(tenant.encode()) % SHARDS}", f"TENANT#{tenant}"
