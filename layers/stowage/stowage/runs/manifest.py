"""The manifest: written last, and the only proof that an attempt's artifact is whole.

`{version, run, attempt, tenant, kind, file_name, key, content_type, size_bytes, sha256, crc32, source_bytes, rows,
created_at, …}` as JSON beside the artifact. Each kind of run adds what it knows: `contents` and
`compression` of a dump, `data_type` and `filters` of an export, `files` and `outcome` of an import.
"""

import json
from typing import Any

from stowage.aws import objects
from stowage.aws.uploads import put_object
from stowage.runs.kinds import kind_of
from stowage.runs.record import Artifact, Run
from stowage.settings import settings

VERSION = 1
FILE_NAME = "manifest.json"


def bucket_of(run: Run) -> str:
    """The bucket of a run's files: exports' and imports' are short-lived and lie apart from backups."""
    return settings().exports_bucket if kind_of(run.kind).bucket == "exports" else settings().backups_bucket


def write_manifest(bucket: str, run: Run, document: dict[str, Any]) -> str:
    """Write the current attempt's manifest and return its key."""
    key = run.prefix(run.attempt) + FILE_NAME
    whole = {"version": VERSION, "run": run.id, "attempt": run.attempt, "tenant": run.tenant, "kind": run.kind}
    body = json.dumps(whole | document, indent=2, sort_keys=True, ensure_ascii=False).encode()
    put_object(bucket, key, body, run.id, attempt=run.attempt)
    return key


def verified_artifact(bucket: str, run: Run) -> Artifact | None:
    """The artifact of the current attempt, if its manifest is there and the object is as the manifest says."""
    key = run.prefix(run.attempt) + FILE_NAME
    manifest = objects.read_json(bucket, key)
    if manifest is None or (manifest["run"], manifest["attempt"]) != (run.id, run.attempt):
        return None
    found = objects.head(bucket, manifest["key"])
    if found is None or found["size"] != manifest["size_bytes"] or found["crc32"] != manifest["crc32"]:
        return None
    files = manifest.get("files") or {}
    for file in files.values():
        stored = objects.head(bucket, file["key"])
        if stored is None or (stored["size"], stored["crc32"]) != (file["size_bytes"], file["crc32"]):
            return None
    return Artifact(
        bucket=bucket,
        key=manifest["key"],
        manifest_key=key,
        file_name=manifest["file_name"],
        content_type=manifest["content_type"],
        size_bytes=manifest["size_bytes"],
        sha256=manifest["sha256"],
        rows=manifest["rows"],
        tables=(manifest.get("contents") or {}).get("table_count"),
        partial=manifest.get("partial", False),
        files=files,
        outcome=manifest.get("outcome") or {},
    )
