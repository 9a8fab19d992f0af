"""What a home keeps is used whole or refused in words, and a start that was refused changes nothing in it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.aws_server import Moto
from local.code_watch import CodeWatch
from local.console import StartError
from local.function_pool import Outcome
from local.functions import Function, Functions
from local.kept_secrets import KeptSecrets
from local.postgres import Postgres
from local.s3.files import FileStore
from local.snapshot import Snapshot

ITEM = {"pk": {"S": "a"}, "sk": {"S": "b"}}
PUT = b"PutItem " + json.dumps({"TableName": "of-another-version", "Item": ITEM}).encode()
OBJECT = {"name": "k", "segments": [["file", 1]]}


def state(folder: Path, name: str, saved: Any, *lines: bytes) -> None:
    (folder / f"{name}.json").write_text(saved if isinstance(saved, str) else json.dumps(saved))
    (folder / f"{name}.1.journal").write_bytes(b"".join(line + b"\n" for line in lines))


UNUSABLE: dict[str, Callable[[Path], None]] = {
    "cut": lambda folder: state(folder, "dynamodb", '{"generation": 1, "sta'),
    "not an object": lambda folder: state(folder, "dynamodb", "[]"),
    "items that are none": lambda folder: state(folder, "dynamodb", {"generation": 1, "state": {"t": 5}}),
    "a table of another version": lambda folder: state(folder, "dynamodb", {"generation": 1, "state": {"t": [ITEM]}}),
    "a write to such a table": lambda folder: state(folder, "dynamodb", {}, PUT),
    "a write that is none": lambda folder: state(folder, "dynamodb", {}, b'PutItem {"Table'),
    "an operation of another version": lambda folder: state(folder, "dynamodb", {}, b"PutMany {}"),
    "a bucket of another version": lambda folder: state(folder, "s3", {"generation": 1, "state": {"b": [OBJECT]}}),
    "a change in such a bucket": lambda folder: state(folder, "s3", {}, json.dumps([["b", "k", [OBJECT]]]).encode()),
    "a change that is none": lambda folder: state(folder, "s3", {}, b'[["b"]]'),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_kept_data_that_this_version_cannot_use_refuses_the_start_and_stays(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    UNUSABLE[case](folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "file").write_bytes(b"x")
    snapshot = Snapshot(folder, Moto(), FileStore(tmp_path / "objects"))
    with pytest.raises(StartError, match=rf"{folder}.* Start the version that wrote it, or choose another home"):
        snapshot.restore()
    snapshot.stop()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (tmp_path / "objects" / "file").read_bytes() == b"x"


def test_tables_and_buckets_that_were_empty_are_missed_by_nobody(tmp_path: Path) -> None:
    for name in ("dynamodb", "s3"):
        state(tmp_path, name, {"generation": 1, "state": {"of-another-version": []}})
    Snapshot(tmp_path, Moto(), FileStore(tmp_path / "objects")).restore()


@pytest.mark.parametrize("kept", ["", '{"Jwt', "[]", "5", '["a"]', "null", '"secret"'])
def test_secrets_that_cannot_be_read_refuse_the_start_and_stay(tmp_path: Path, kept: str) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(kept)
    with pytest.raises(StartError, match=rf"{file} holds something .* choose another home"):
        KeptSecrets(file)
    assert file.read_text() == kept


def test_a_cluster_of_another_postgres_is_named(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    children: Any = None  # nobody is started
    with pytest.raises(StartError, match=r"is a cluster of Postgres 17, this stack has 18\. Start the version"):
        Postgres(tmp_path, tmp_path, children, 0).start()


class NoPool:
    """Counts how often its workers are renewed; an event ends at once."""

    def __init__(self) -> None:
        self.renewed = 0

    def renew(self) -> None:
        self.renewed += 1

    def invoke(self, invocation: Any, event: bytes) -> Outcome:
        return Outcome("", event)


@pytest.mark.parametrize(
    ("edited", "renewed", "told"), [("code/a.py", 1, 0), ("t.yaml", 0, 1), ("states/s.yaml", 0, 1)]
)
def test_edited_code_is_taken_at_once_and_an_edited_template_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    edited: str,
    renewed: int,
    told: int,
) -> None:
    monkeypatch.setattr("local.code_watch.SECONDS", 0)
    monkeypatch.setattr("local.code_watch.SHARE", 0)
    for name in ("code/a.py", "states/s.yaml", "t.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    pool: Any = NoPool()
    template = CodeWatch(tmp_path / "t.yaml", tmp_path / "states")
    functions = Functions(pool, CodeWatch(tmp_path / "code"), template, lambda: None, lambda *_: None)
    function = Function("A", "a", "a.app", 3, 128, ())
    functions.invoke(function, b"{}")
    assert (pool.renewed, capsys.readouterr().out) == (0, "")
    os.utime(tmp_path / edited, (1, 1))
    functions.invoke(function, b"{}")
    functions.invoke(function, b"{}")
    assert (pool.renewed, capsys.readouterr().out.count("start anew")) == (renewed, told)
