"""The table's items and the index of S3's objects on disk, so that a restart still knows yesterday's runs.

A snapshot now and then, and a journal of what has changed since: a change is in it before it is answered. The objects'
bytes are in files anyway. What an execution, a queue or an upload was doing when the stack died is gone, as after a
disaster; the product's reaper settles such runs.
"""

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from local import homes
from local.aws_server import WRITES, Moto
from local.configuration import ACCOUNT, REGION
from local.http_server import Request, Response
from local.journal import Journal
from local.moto_services import call_dynamodb
from local.s3.files import FileBytes, FileStore, Segment
from local.s3.objects import backend

type Json = Any
MOST_ENTRIES = 2000
"""A journal of so many entries calls for a snapshot; to repeat it at a start takes two seconds at most."""
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


@dataclass
class _Kept:
    """One service's data: its journal, how to take a snapshot (with the service's lock held), how to use both."""

    journal: Journal
    collect: Callable[[], Json]
    restore: Callable[[Json, Iterable[bytes]], None]


class Snapshot:
    """Keeps what is written, from `restore` to `stop` and beyond."""

    def __init__(self, folder: Path, moto: Moto, store: FileStore) -> None:
        self._folder, self._moto, self._store = folder, moto, store
        folder.mkdir(parents=True, exist_ok=True)
        self._kept = {
            "dynamodb": _Kept(Journal(folder, "dynamodb"), _collect_tables, self._restore_tables),
            "s3": _Kept(Journal(folder, "s3"), _collect_objects, self._restore_objects),
        }
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take snapshots."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last one; what is written yet goes on into the journal. A start that failed leaves all as it was."""
        self._stopping = True
        self._wake.set()
        if not self._thread:
            return
        self._thread.join()
        for name, kept in self._kept.items():
            if kept.journal.entries:
                self._save(name, kept)

    def restore(self) -> None:
        """Bring back what was written, into tables and buckets that exist and are empty; StartError where it cannot."""
        for name, kept in self._kept.items():
            file = self._folder / f"{name}.json"
            saved = homes.read_object(file)
            with homes.reading(file):
                # An earlier version kept the state alone, and no journal.
                kept.restore(saved.get("state", saved), kept.journal.read(saved.get("generation", 0)))
        for kept in self._kept.values():
            kept.journal.begin()
        self._store.keep_only({segment.path.name for key in _all_keys() for segment in key._value_buffer.segments})
        self._moto.answered = self._answered

    def _answered(self, service: str, request: Request, response: Response) -> None:
        """Keep what a request has changed; called with the service's lock held, before the answer goes out."""
        if service == "dynamodb":
            operation = request.header("x-amz-target").partition(".")[2]
            if response.status == 200 and operation in WRITES:
                self._append("dynamodb", operation.encode() + b" " + request.body.replace(b"\n", b" "))
        elif service == "s3":
            named, _, key = unquote(request.path)[1:].partition("/")
            # Of the key that a request names, perhaps only the tags have changed.
            changed = [] if request.method in ("GET", "HEAD") else _changed_keys(named, key)
            if changed:
                self._append("s3", json.dumps(changed).encode())
            # Only now: until the journal knew better, they were somebody's bytes.
            self._store.delete_discarded()

    def _append(self, name: str, entry: bytes) -> None:
        journal = self._kept[name].journal
        journal.append(entry)
        if journal.entries >= MOST_ENTRIES:
            self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            started = time.monotonic()
            for name, kept in self._kept.items():
                if kept.journal.entries >= MOST_ENTRIES:
                    self._save(name, kept)
            deadline = time.monotonic() + SHARE * (time.monotonic() - started)
            while not self._stopping and time.monotonic() < deadline:
                time.sleep(0.05)

    def _save(self, name: str, kept: _Kept) -> None:
        with self._moto.locks[name]:
            state = kept.collect()
            generation = kept.journal.begin()
            kept.journal.entries = 0
        partial = self._folder / f"{name}.partial"
        partial.write_text(json.dumps({"generation": generation, "state": state}))
        partial.replace(self._folder / f"{name}.json")
        kept.journal.forget(generation)

    def _restore_tables(self, saved: Json, entries: Iterable[bytes]) -> None:
        from moto.dynamodb.models import dynamodb_backends

        database = dynamodb_backends[ACCOUNT][REGION]
        self._refuse_undeclared("table", {name for name, items in saved.items() if items} - set(database.tables))
        for name, items in saved.items():
            for item in items:
                database.put_item(name, item)
        for entry in entries:
            self._repeat_write(entry)
        for table in _tables().values():
            if table.stream_shard:
                # What was restored is no news.
                table.stream_shard.items.clear()

    def _repeat_write(self, entry: bytes) -> None:
        operation, _, body = entry.partition(b" ")
        answer = call_dynamodb(self._moto.call, operation.decode(), body)
        if answer.status != 200:
            # To go on would be to forget the write.
            raise homes.unusable(self._folder, f"has a {operation.decode()} that does not repeat: {answer.body!r:.200}")

    def _restore_objects(self, saved: Json, entries: Iterable[bytes]) -> None:
        versions_of: dict[tuple[str, str], list[Json]] = {}
        for bucket_name, keys in saved.items():
            for described in keys:
                versions_of.setdefault((bucket_name, described["name"]), []).append(described)
        for entry in entries:
            for bucket_name, name, versions in json.loads(entry):
                versions_of[bucket_name, name] = versions
        buckets = backend().buckets
        self._refuse_undeclared(
            "bucket", {bucket for (bucket, _), versions in versions_of.items() if versions} - set(buckets)
        )
        for (bucket_name, name), versions in versions_of.items():
            for described in versions:
                bucket = buckets[bucket_name]
                bucket.keys[name] = _restore_key(bucket, described, self._store)
        _changed_keys("", "")

    def _refuse_undeclared(self, kind: str, names: set[str]) -> None:
        """CloudFormation retains what a new template does not declare; here the next snapshot would forget it."""
        if names:
            raise homes.unusable(
                self._folder, f"has data in the {kind} {min(names)}, which the template does not declare"
            )


def _tables() -> dict[str, Any]:
    from moto.dynamodb.models import dynamodb_backends

    tables: dict[str, Any] = dynamodb_backends[ACCOUNT][REGION].tables
    return tables


def _collect_tables() -> Json:
    return {name: [item.to_json()["Attributes"] for item in table.all_items()] for name, table in _tables().items()}


def _changed_keys(named: str, key: str) -> Json:
    """Which objects have changed since this was asked last, and this one: bucket, key, all its versions from now on."""
    changed = []
    for bucket in backend().buckets.values():
        names, bucket.keys.changed = bucket.keys.changed, set()
        if bucket.name == named and key in bucket.keys:
            names.add(key)
        for name in names:
            versions = dict.get(bucket.keys, name, [])
            changed.append([bucket.name, name, [_describe(version) for version in versions]])
    return changed


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
        setattr(key, name, described.get(name))  # None: an earlier version did not keep it
    key.last_modified = datetime.datetime.fromisoformat(described["last_modified"])
    key.set_metadata(described["metadata"])
    backend().tagger.tag_resource(key.arn, [{"Key": tag, "Value": value} for tag, value in described["tags"].items()])
    return key
