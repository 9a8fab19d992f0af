"""The manifest: written last, and the only proof that an attempt has ended and what it left is whole.

As JSON: `{version, run, attempt, tenant, kind, created_at, rows, facts, failure}`, and each file's entry `{key,
file_name, content_type, size_bytes, sha256, crc32, source_bytes, rows, …}`. A kind that leaves one file has its entry
at the top, one that leaves several has them in `files`; an entry also holds what its kind knows of it (`contents` and
`compression` of a dump, `data_type` and `filters` of an export). A kind that leaves no file has facts alone, and its
manifest lies in the table instead of a bucket.

Version 1 had an import's first file at the top as well, its facts as `outcome`, and `partial` for a failure.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stowage.aws import objects, table
from stowage.aws.table import Item
from stowage.aws.uploads import put_object
from stowage.basics.ids import rfc3339
from stowage.runs.keeping import record_until
from stowage.runs.kinds import kind_of
from stowage.runs.record import ONE_FILE, Failure, Outcome, Run, StoredFile
from stowage.settings import settings

VERSION = 2
FILE_NAME = "manifest.json"


def bucket_of(run: Run) -> str | None:
    """The bucket of a run's files: exports' and imports' are short-lived and lie apart from backups."""
    match kind_of(run.kind).bucket:
        case "exports":
            return settings().exports_bucket
        case "backups":
            return settings().backups_bucket
    return None


def write_manifest(run: Run, files: Mapping[str, Item], now: datetime, **about: Any) -> None:
    """Write the manifest of the run's current attempt: its files' entries by name, its rows, facts and failure."""
    document = {
        "version": VERSION,
        "run": run.id,
        "attempt": run.attempt,
        "tenant": run.tenant,
        "kind": run.kind,
        "created_at": rfc3339(now),
        **about,
    }
    match kind_of(run.kind).leaves:
        case "file":
            document |= files[ONE_FILE]
        case "files":
            document["files"] = dict(files)
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    bucket = bucket_of(run)
    if bucket:
        put_object(bucket, _key(run), text.encode(), run.id, attempt=run.attempt)
    else:
        pk, sk = _item_key(run, run.attempt)
        table.put({"pk": pk, "sk": sk, "document": text, "ttl": record_until(run, now)})


def read_manifest(run: Run) -> Item | None:
    """The manifest of the run's current attempt, or None."""
    bucket = bucket_of(run)
    if bucket:
        return objects.read_json(bucket, _key(run))
    item = table.get(*_item_key(run, run.attempt))
    return json.loads(item["document"]) if item else None


def verified_outcome(run: Run) -> Outcome | None:
    """The outcome of the current attempt, if there is a manifest and each file is as it says; else None."""
    manifest = read_manifest(run)
    if manifest is None or (manifest["run"], manifest["attempt"]) != (run.id, run.attempt):
        return None
    return outcome_of(manifest) if is_whole(run, manifest) else None


def is_whole(run: Run, manifest: Item) -> bool:
    """Whether each file of a manifest is there, and as it says."""
    bucket = str(bucket_of(run))
    for entry in _entries(manifest).values():
        stored = objects.head(bucket, entry["key"])
        if stored is None or (stored["size"], stored["crc32"]) != (entry["size_bytes"], entry["crc32"]):
            return False
    return True


def outcome_of(manifest: Item) -> Outcome:
    """The part of a manifest that the run's record keeps."""
    facts = manifest.get("facts") or manifest.get("outcome") or {}
    if "contents" in manifest:
        proof = {name: facts[name] for name in ("verification", "fingerprint") if name in facts}
        facts = {"tables": manifest["contents"]["table_count"], **proof}
    failure = manifest.get("failure")
    if manifest.get("partial"):
        failure = {"code": "run_interrupted", "message": "The run broke off."}
    return Outcome(
        files={name: StoredFile.model_validate(entry) for name, entry in _entries(manifest).items()},
        rows=manifest["rows"],
        facts=facts,
        failure=Failure(**failure, attempt=manifest["attempt"]) if failure else None,
    )


def take_away(run: Run, attempt: int) -> None:
    """Delete everything that an attempt has left; a versioned bucket keeps it for a while."""
    bucket = bucket_of(run)
    if bucket:
        objects.delete_prefix(bucket, run.prefix(attempt))
    else:
        table.delete(*_item_key(run, attempt))


def erase(run: Run, attempt: int) -> None:
    """Delete everything that an attempt has left, for good."""
    bucket = bucket_of(run)
    if bucket:
        objects.erase_prefix(bucket, run.prefix(attempt))
    else:
        table.delete(*_item_key(run, attempt))


def _entries(manifest: Item) -> dict[str, Item]:
    """The entries of a manifest's files by name."""
    if "files" in manifest:
        return dict(manifest["files"])
    return {ONE_FILE: manifest} if "key" in manifest else {}


def _key(run: Run) -> str:
    return run.prefix(run.attempt) + FILE_NAME


def _item_key(run: Run, attempt: int) -> tuple[str, str]:
    return f"RUN#{run.id}", f"MANIFEST#{attempt}"
