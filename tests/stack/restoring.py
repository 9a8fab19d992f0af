"""Backups as files beside their manifests, and the documents' commands that restore them."""

import gzip
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.postgres import binaries
from stowage.postgres.dumps.contents import SnapshotContents
from stowage.postgres.dumps.pg_dump import Dump, DumpFormat, pg_dump_version
from tests.stack.dump_surface import ROOT, Database, whole
from tests.stack.servers import Server

FORMATS: dict[str, DumpFormat] = {"sql": "sql", "custom": "custom", "tar": "tar"}
ENDINGS = {"sql": "sql.gz", "custom": "dump.gz", "tar": "tar.gz"}
STEM = "acme-2026-11-20T081500Z"


def commands(document: str, heading: str) -> list[str]:
    """The commands that a section of a document says to type."""
    section = (ROOT / document).read_text().partition(f"{heading}\n")[2]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.M)[0]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.M | re.S)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def of_format(given: list[str], name: str) -> str:
    """The one command for that format's file."""
    [command] = [command for command in given if f"{STEM}.{ENDINGS[name]}" in command]
    return command


@dataclass
class Backups:
    """A folder with a backup of each format of the odd tenant, and its manifest as the API gives it."""

    folder: Path
    origin: Database
    contents: dict[str, Any]

    def run(self, command: str, server: Server, target: str) -> None:
        """Type a command in that folder, with the server's psql and the newest pg_restore."""
        done = self.attempt(command, server, target)
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr

    def attempt(self, command: str, server: Server, target: str) -> subprocess.CompletedProcess[str]:
        programs = self.folder / f"programs-{server.port}"
        if not programs.exists():
            programs.mkdir()
            (programs / "psql").symlink_to(server.programs / "psql")
            (programs / "pg_restore").symlink_to(binaries() / "pg_restore")
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env={"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TARGET": target},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def back_up(database: Database, schema: str, folder: Path) -> dict[str, Any]:
    """Write a backup of each format, as the product makes them; what the manifest says of the last one."""
    (folder / ".venv").symlink_to(ROOT / ".venv")
    contents: dict[str, Any] = {}
    program = str(binaries() / "pg_dump")
    for name, dump_format in FORMATS.items():
        with SnapshotContents(database.connect(), schema, pg_dump_version(program)) as reading:
            source = Dump(schema, dump_format, database.environment, snapshot=reading.snapshot, binary=program)
            packed = gzip.compress(whole(source), 1)
            contents = reading.result(30).model_dump()
        file = folder / f"{STEM}.{ENDINGS[name]}"
        file.write_bytes(packed)
        manifest = {"sha256": hashlib.sha256(packed).hexdigest(), "file_name": file.name, "contents": contents}
        (folder / f"manifest-{name}.json").write_text(json.dumps({"data": {"id": "x", "manifest": manifest}}))
        (folder / "manifest.json").write_text(json.dumps({"data": {"id": "x", "manifest": manifest}}))
    return contents
