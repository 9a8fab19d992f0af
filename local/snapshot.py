"""The table's items and the index of S3's objects on disk, so that a restart still knows yesterday's runs.

The objects' bytes are in files anyway. What an execution, a queue or an upload was doing when the stack died is
gone, as after a disaster; the product's reaper settles such runs.
"""

import datetime
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.aws_server import Moto
from local.configuration import ACCOUNT, REGION
from local.s3.files import FileBytes, FileStore, Segment
from local.s3.objects import backend

type Json = Any
SECONDS = 2.0
SHARE = 20
"""Saving may take a twentieth of the time, however much there is."""
_PLAIN = (
    "etag",
    "version_id",
    "storage_class",
    "encryption",
    "kms_key_id",
    "bucket_key_enabled",
    "lock_mode",
    "lock_legal_status",
    "lock_until",
    "checksum_algorithm",
    "checksum_value",
    "checksum_type",
    "checksum_parts",
)


class Snapshot:
    """Saves what changed every few seconds, and at the stop; restores it at the start."""

    def __init__(self, folder: Path, moto: Moto, store: FileStore) -> None:
        self._folder, self._moto, self._store = folder, moto, store
        self._changed: set[str] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def changed(self, service: str) -> None:
        """`dynamodb` or `s3` has been written to."""
        self._changed.add(service)
        self._wake.set()

    def start(self) -> None:
        """Begin to save."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Save a last time."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join()
        self._save()

    def restore(self) -> None:
        """Bring back what the last run saved, into tables and buckets that exist and are empty."""
        self._read("dynamodb", _restore_tables)
        self._read("s3", lambda saved: _restore_objects(saved, self._store))
        kept = {segment.path.name for key in _all_keys() for segment in key._value_buffer.segments}
        self._store.keep_only(kept)

    def _read(self, name: str, restore: Callable[[Json], None]) -> None:
        file = self._folder / f"{name}.json"
        if file.exists():
            restore(json.loads(file.read_text()))

    def _run(self) -> None:
        wait = SECONDS
        while not self._stopping:
            self._wake.wait()
            started = time.monotonic()
            self._save()
            wait = max(SECONDS, SHARE * (time.monotonic() - started))
            deadline = time.monotonic() + wait
            while not self._stopping and time.monotonic() < deadline:
                time.sleep(0.05)

    def _save(self) -> None:
        self._wake.clear()
        changed, self._changed = self._changed, set()
        for name, collect in (("dynamodb", _collect_tables), ("s3", _collect_objects)):
            if name in changed:
                with self._moto.locks[name]:
                    collected = collect()
                partial = self._folder / f"{name}.partial"
                partial.write_text(json.dumps(collected))
                partial.replace(self._folder / f"{name}.json")


def _tables() -> dict[str, Any]:
    from moto.dynamodb.models import dynamodb_backends

    tables: dict[str, Any] = dynamodb_backends[ACCOUNT][REGION].tables
    return tables


def _collect_tables() -> Json:
    return {name: [item.to_json()["Attributes"] for item in table.all_items()] for name, table in _tables().items()}


def _restore_tables(saved: Json) -> None:
    from moto.dynamodb.models import dynamodb_backends

    database = dynamodb_backends[ACCOUNT][REGION]
    for name, items in saved.items():
        table = database.tables.get(name)
        if table is None:
            continue
        for item in items:
            database.put_item(name, item)
        if table.stream_shard:
            table.stream_shard.items.clear()


def _all_keys() -> list[Any]:
    return [
        version
        for bucket in backend().buckets.values()
        for versions in dict.values(bucket.keys)
        for version in versions
        if hasattr(version, "_value_buffer")
    ]


def _collect_objects() -> Json:
    return {
        bucket.name: [_describe(version) for versions in dict.values(bucket.keys) for version in versions]
        for bucket in backend().buckets.values()
    }


def _describe(key: Any) -> Json:
    if not hasattr(key, "_value_buffer"):
        return {
            "name": key.name,
            "version_id": key.version_id,
            "last_modified": key.last_modified.isoformat(),
            "deleted": True,
        }
    described = {name: getattr(key, name, None) for name in _PLAIN}
    return described | {
        "name": key.name,
        "last_modified": key.last_modified.isoformat(),
        "metadata": dict(key.metadata),
        "tags": backend().tagger.get_tag_dict_for_resource(key.arn),
        "segments": [[segment.path.name, segment.size] for segment in key._value_buffer.segments],
    }


def _restore_objects(saved: Json, store: FileStore) -> None:
    for bucket_name, keys in saved.items():
        bucket = backend().buckets.get(bucket_name)
        if bucket is not None:
            whole = [described for described in keys if _has_its_files(described, store)]
            for described in whole:
                bucket.keys[described["name"]] = _restore_key(bucket, described, store)


def _has_its_files(described: Json, store: FileStore) -> bool:
    """Whether the bytes are there: an object deleted after the last save, before a kill, is gone."""
    return all((store.root / name).exists() for name, _ in described.get("segments", []))


def _restore_key(bucket: Any, described: Json, store: FileStore) -> Any:
    from moto.s3.models import FakeDeleteMarker, FakeKey

    if described.get("deleted"):
        marker: Any = FakeDeleteMarker(key=FakeKey(described["name"], b"", ACCOUNT, REGION, bucket_name=bucket.name))
        marker.last_modified = datetime.datetime.fromisoformat(described["last_modified"])
        marker._version_id = described["version_id"]
        return marker
    segments = [Segment(store.root / name, size) for name, size in described["segments"]]
    key: Any = FakeKey(
        name=described["name"],
        value=FileBytes(store, segments),
        account_id=ACCOUNT,
        region_name=bucket.region_name,
        bucket_name=bucket.name,
        storage=described["storage_class"],
        etag=described["etag"].strip('"'),
        is_versioned=bucket.is_versioned,
        version_id=described["version_id"],
    )
    for name in _PLAIN[3:]:
        setattr(key, name, described[name])
    key.last_modified = datetime.datetime.fromisoformat(described["last_modified"])
    key.set_metadata(described["metadata"])
    backend().tagger.tag_resource(key.arn, [{"Key": tag, "Value": value} for tag, value in described["tags"].items()])
    return key
