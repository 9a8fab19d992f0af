"""What a manifest tells, by every kind and every version that has written one, and what the job tells of it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stowage.runs.kinds import KINDS, result_of
from stowage.runs.manifest import outcome_of
from stowage.runs.record import Run

MANIFESTS = Path(__file__).parents[1] / "manifests"
ENDED = "2026-11-20T08:15:05.000Z"
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MANIFESTS / f"{name}.json").read_text())
    return found


def record(kind: str, **more: Any) -> dict[str, Any]:
    told = manifest(kind)
    return {
        "id": told["run"],
        "tenant": told["tenant"],
        "kind": kind,
        "status": "completed",
        "database": "main",
        "spec": {"schema": "tenant_acme"},
        "requested_by": "ada",
        "created_at": ENDED,
        "attempt": told["attempt"],
        "expires_at": "2026-11-21T08:15:05.000Z",
        **more,
    }


def link(file: str) -> str:
    return f"link to {file}"


RESULTS = {
    "export": {
        "export_id": "0199f1c2-7d00-7a3b-8f10-5a1c2d3e4f50",
        "file_name": "acme-accounts-2026-11-20.csv",
        "size_bytes": 9120,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "rows": 97,
        "expired": False,
    },
    "export_backup": {
        "backup_id": "0199f1c2-7d00-7a3b-8f10-5a1c2d3e4f50",
        "file_name": "acme-2026-11-20T081500Z.sql.gz",
        "size_bytes": 20480,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "download_path": "/api/backup/0199f1c2-7d00-7a3b-8f10-5a1c2d3e4f50/download",
    },
    "export_logs": {
        "backup_id": "0199f1c2-7d00-7a3b-8f10-5a1c2d3e4f50",
        "file_name": "acme-logs-2026-11-20T081500Z.json",
        "size_bytes": 20480,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "download_path": "/api/backup/0199f1c2-7d00-7a3b-8f10-5a1c2d3e4f50/download",
    },
    "import": {
        "import_id": "0199f1c2-7d00-7a3b-8f10-5a1c2d3e4f50",
        "operation_id": "op_0199f1c27d007a3b8f105a1c2d3e4f50",
        "entity": "accounts",
        "total": 12,
        "succeeded": 10,
        "created": 9,
        "updated": 1,
        "skipped": 0,
        "failed": 2,
        "files": {
            "successful": "link to successful",
            "failed": "link to failed",
            "unprocessed": "link to unprocessed",
        },
        "expired": False,
    },
    "compare": {
        "backup_id": "0199f1c2-0000-7a3b-8f10-5a1c2d3e4f50",
        "backup_at": "2026-11-20T02:00:00.000Z",
        "entities": [{"name": "accounts", "only_in_backup": 14, "only_live": 212, "changed": 37, "same": 19949}],
        "expires_at": "2026-11-21T08:15:05.000Z",
    },
    "verify": {
        "backup_id": "0199f1c2-0000-7a3b-8f10-5a1c2d3e4f50",
        "level": 2,
        "at": "2026-11-20T08:15:04.100Z",
        "ok": True,
        "checks": [
            {"name": name, "ok": True, "message": None}
            for name in ("file", "checksum", "compression", "end", "schema", "rows")
        ],
    },
    "restore": {
        "mode": "new_schema",
        "backup_id": "0199f1c2-0000-7a3b-8f10-5a1c2d3e4f50",
        "schema": "stowage_copy_0199f1c27d007a3b8f105a1c2d3e4f50",
        "tables": 6,
        "rows": 640,
        "keeps_old_name": ["function touch: its text"],
        "keeps_old_name_count": 1,
        "closed_to": ["stowage_app", "stowage_dump", "stowage_purge"],
        "left_out": [],
    },
}
"""What the job of each sample tells."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_tells_what_its_manifest_does(kind: str) -> None:
    outcome = outcome_of(manifest(kind))
    assert outcome.failure is None
    stored = json.loads(outcome.model_dump_json(exclude_none=True))
    run = Run.model_validate(record(kind, outcome=stored))
    assert result_of(kind)(run, NOW, link) == RESULTS[kind]


@pytest.mark.parametrize("kind", ["export", "export_backup", "import"])
def test_a_manifest_of_version_1_tells_the_same(kind: str) -> None:
    assert outcome_of(manifest(f"{kind}-1")) == outcome_of(manifest(kind))


@pytest.mark.parametrize(
    ("name", "code"),
    [("import-partial", "broken_file"), ("import-1-partial", "run_interrupted"), ("verify-damaged", "backup_damaged")],
)
def test_a_manifest_of_what_was_not_done_to_its_end_tells_that_too(name: str, code: str) -> None:
    outcome = outcome_of(manifest(name))
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.attempt) == (code, 2)
    assert outcome.facts


ARTIFACTS: dict[str, dict[str, Any]] = {
    "export": {"rows": 97, "partial": False, "files": {}, "outcome": {}},
    "export_backup": {"rows": 640, "tables": 7, "partial": False, "files": {}, "outcome": {}},
    "import": {
        "rows": 10,
        "partial": False,
        "files": {
            name: {
                field: value
                for field, value in file.items()
                if field in ("key", "file_name", "content_type", "size_bytes", "rows")
            }
            for name, file in manifest("import-1")["files"].items()
        },
        "outcome": manifest("import-1")["outcome"],
    },
}
"""What the version before kept on a run's record, beside the fields of the first file."""


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_a_record_of_the_version_before_tells_the_same(kind: str) -> None:
    old = manifest(f"{kind}-1")
    artifact = {
        "bucket": "a-bucket",
        "manifest_key": old["key"].rpartition("/")[0] + "/manifest.json",
        **{name: old[name] for name in ("key", "file_name", "content_type", "size_bytes", "sha256")},
        **ARTIFACTS[kind],
    }
    run = Run.model_validate(record(kind, artifact=artifact))
    assert result_of(kind)(run, NOW, link) == RESULTS[kind]
    assert run.outcome is not None
    assert run.outcome.rows == outcome_of(manifest(kind)).rows
    assert run.outcome.size_bytes == outcome_of(manifest(kind)).size_bytes
    assert (run.outcome.facts.get("tables"), run.file is None) == (
        ARTIFACTS[kind].get("tables"),
        kind == "import",
    )


def test_a_backup_whose_rows_could_not_be_counted_is_kept_as_one() -> None:
    told = manifest("export_backup") | {"rows": None}
    stored = outcome_of(told).model_dump(exclude_none=True)
    run = Run.model_validate(record("export_backup", outcome=stored))
    assert run.outcome is not None
    assert run.file is not None
    assert (run.outcome.rows, run.file.rows) == (None, None)
    assert result_of("export_backup")(run, NOW, link) == RESULTS["export_backup"]


def test_a_run_has_no_outcome_before_it_has_ended() -> None:
    run = Run.model_validate(record("export", status="running"))
    assert (run.outcome, run.file) == (None, None)
