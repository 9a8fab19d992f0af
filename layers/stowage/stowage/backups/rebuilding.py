"""The history of backups made anew from their manifests, for a table that was lost (docs/restore.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stowage.aws import objects, table
from stowage.aws.table import ABSENT, ConditionFailedError, Item, Put
from stowage.basics.errors import NotFoundError, UnavailableError
from stowage.basics.ids import parse_rfc3339, rfc3339, run_id_time
from stowage.runs.audit_notes import audit_note
from stowage.runs.counters import counting
from stowage.runs.keeping import expires_at, record_until
from stowage.runs.kinds import KINDS
from stowage.runs.manifest import FILE_NAME, VERSION, is_whole, outcome_of
from stowage.runs.record import SWEEP_LIST, PastAttempt, Run, new_item
from stowage.runs.store import WAITING, progress_key
from stowage.runs.summary import summing_up
from stowage.settings import settings
from stowage.tenants import find_tenant

ACTOR = "rebuild"
"""In place of a person, in records and the audit log: who asked for a backup stands in no manifest."""
_TRIES = 5


@dataclass(frozen=True)
class Found:
    """A manifest in the bucket and what came of it: `rebuilt`, `known` (the table has the run), or why it was left."""

    key: str
    outcome: str

    @property
    def is_left(self) -> bool:
        """Whether it is of a backup that the table still lacks."""
        return self.outcome not in ("rebuilt", "known")


def rebuild(now: datetime, *, tenant: str | None = None, writes: bool = True) -> Iterator[Found]:
    """Write a record for every whole backup in the bucket that the table does not know, each as soon as it is read.

    Such a backup is kept as long as one that is made now, and counts as verified where it was when it was made. With
    `writes` False nothing is written. What is not whole, or lies in another tenant's folder than its manifest says, is
    left with the reason.
    """
    for key in objects.keys(settings().backups_bucket, f"{tenant}/" if tenant else ""):
        if key.endswith(f"/{FILE_NAME}"):
            yield Found(key, _rebuild(key, now, writes=writes))


def _rebuild(key: str, now: datetime, *, writes: bool) -> str:
    try:
        manifest = objects.read_json(settings().backups_bucket, key)
        run = _run_of(key, manifest or {}, now)
    except (KeyError, ValueError, TypeError):
        return "its manifest cannot be read"
    if isinstance(run, str):
        return run
    if manifest is None or not is_whole(run, manifest):
        return "its file is not as the manifest says"
    if table.get(run.pk, run.sk):
        return "known"
    return _write(run, now) if writes else "rebuilt"


def _run_of(key: str, manifest: Item, now: datetime) -> Run | str:
    """The run that a manifest is of, or why it is not taken."""
    kind = KINDS.get(manifest["kind"])
    if kind is None or kind.bucket != "backups" or manifest["version"] > VERSION:
        return "its manifest is of another version"
    outcome = outcome_of(manifest)
    if outcome.failure:
        return "it has failed"
    tenant, path, run_id, attempt, _ = _parts(key)
    if (tenant, run_id, attempt) != (manifest["tenant"], manifest["run"], str(manifest["attempt"])):
        return "its manifest is of another run"
    try:
        database = find_tenant(tenant, now).database
    except NotFoundError:
        database = "main"  # it has left the registry; its backups stay until their time is over
    created, ended = rfc3339(run_id_time(run_id)), rfc3339(parse_rfc3339(manifest["created_at"]))
    spec: dict[str, Any] = {name: manifest[name] for name in ("format", "file_name") if name in manifest}
    if "compression" in manifest:
        spec["compress"] = manifest["compression"] is not None
    if "contents" in manifest:
        spec["schema"] = manifest["contents"]["schema_name"]
    run = Run(
        id=run_id,
        tenant=tenant,
        kind=kind.name,
        status="completed",
        database=database,
        spec=spec | {"storage_path": path},
        requested_by=ACTOR,
        created_at=created,
        completed_at=ended,
        attempt=manifest["attempt"],
        execution=f"{run_id}-{attempt}",
        tries=1,
        attempts=[PastAttempt(n=manifest["attempt"], ended_at=ended, outcome="completed")],
        outcome=outcome,
        verification=outcome.facts.get("verification"),
        counted=True,
    )
    return run.model_copy(update={"expires_at": expires_at(run, now)})


def _parts(key: str) -> tuple[str, str, str, str, str]:
    """Tenant, path, run, attempt and name of an object."""
    tenant, _, rest = key.partition("/")
    path, run_id, attempt, name = rest.rsplit("/", 3)
    return tenant, path, run_id, attempt, name


def _write(run: Run, now: datetime) -> str:
    ttl = record_until(run, now)
    pk, sk = progress_key(run.id)
    progress: Item = {
        **WAITING, "pk": pk, "sk": sk, "tenant": run.tenant, "kind": run.kind, "file_role": run.file_role,
        "sequence": 0, "ttl": ttl, "status": "completed", "stage": "completed", "percent": 100, "message": "Done.",
        "expires_at": run.expires_at,
    }  # fmt: skip
    record = new_item(run, ttl) | {"due_list": SWEEP_LIST, "due_at": rfc3339(now) if run.is_planned else run.expires_at}
    for _ in range(_TRIES):
        try:
            table.transact(
                [
                    Put(record, when={"pk": ABSENT}),
                    Put(progress),
                    audit_note(run, "rebuilt", ACTOR, now, {"size_bytes": run.outcome and run.outcome.size_bytes}),
                    *counting(None, run),
                    *summing_up(None, run),
                ]
            )
        except ConditionFailedError as error:
            if 0 in error.failed:
                return "known"
            continue  # the tenant's summary has just changed
        return "rebuilt"
    raise UnavailableError("The tenant's summary changes too quickly; try again.", retry_after=1)
