"""docs/adopt.md, command by command: a product's schema, an undone bulk change, a verified backup, and the way back."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.configuration import layers
from tests.conftest import ROOT, LocalStack, make_home
from tests.stack.servers import NEWEST, Server, start_servers

type Json = Any

DOCUMENT = (ROOT / "docs/adopt.md").read_text()
UP = "$ STOWAGE_DATABASE_URL=$MASTER make up"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_servers() as servers:
        yield servers(NEWEST)


def steps(text: str) -> list[tuple[str, str | None]]:
    """The commands of a text, each with what it prints as the document shows it, None where it shows nothing."""
    found: list[tuple[str, str | None]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output or None))
    return found


# What differs from run to run: ids, moments, hashes, ports, durations, counts of seconds.
_VARIES = (
    (r"op_[0-9a-f]{32}", "OPERATION"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z?", "MOMENT"),
    (r"\b\d+\.\d s\b", "SECONDS"),
    (r"applied product/.*\n", ""),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b", "ID"),
)


def alike(text: str) -> str:
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return text.strip()


class Terminal:
    """A shell in a copy of the repository; what is exported stays so."""

    def __init__(self, root: Path) -> None:
        self.root, self.replaced = root, list[tuple[str, str]]()
        paths = os.pathsep.join(map(str, (root, *layers(root))))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "LC_ALL": "C.UTF-8", "HOME": str(root)}
        self._shell = subprocess.Popen(
            ["bash"], cwd=root, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, command: str) -> tuple[str, int]:
        """What a command prints, and its exit code."""
        for old, new in self.replaced:
            command = command.replace(old, new)
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f'{command}\necho "#ended $?"\n')
        lines = []
        for line in self._shell.stdout:
            before, ended, code = line.rpartition("#ended ")
            if ended:
                return "".join([*lines, before]), int(code)
            lines.append(line)
        raise AssertionError("the shell has gone")

    def close(self) -> None:
        with self._shell as shell:  # which closes its pipes
            shell.kill()


def test_the_ten_minutes_go_as_the_document_says(server: Server) -> None:
    root, home = make_home(), make_home()
    for name in ("local", "functions", "layers", "worker", "statemachines", "template.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(ROOT / ".venv")
    (root / ".stowage").symlink_to(home)
    for file in (root / "layers/entities").glob("*.toml"):
        file.unlink()
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE master LOGIN CREATEROLE CREATEDB")
        admin.execute("GRANT pg_monitor, pg_signal_backend TO master WITH ADMIN OPTION")
        admin.execute("CREATE DATABASE shop OWNER master")
        admin.execute("SET ROLE master")
        admin.execute("CREATE ROLE product LOGIN")
    with psycopg.connect(server.url(database="shop"), autocommit=True) as admin:
        admin.execute("GRANT CREATE ON DATABASE shop TO product")
    with psycopg.connect(server.url("product", "shop"), autocommit=True) as product:
        product.execute((ROOT / "docs/adopt.sql").read_bytes())
    terminal = Terminal(root)
    terminal.replaced = [("127.0.0.1:5432", f"127.0.0.1:{server.port}")]
    stack: LocalStack | None = None
    try:
        for command, shown in steps(DOCUMENT):
            if command.startswith(UP.removeprefix("$ ")):
                url = server.url("master", "shop")
                paths = os.pathsep.join(map(str, (root, *layers(root))))
                stack = LocalStack(home, root, STOWAGE_DATABASE_URL=url, PYTHONPATH=paths)
                stack.start("up", "--no-sample")
                terminal.replaced.append(("localhost:8080", f"127.0.0.1:{stack.port}"))
                continue
            if " remove " in command and stack:
                stack.stop()
                stack = None
            output, code = terminal.type(command)
            assert code == 0, f"$ {command}\n{output}"
            if shown is not None:
                assert alike(output) == alike(shown), command
    finally:
        terminal.close()
        if stack:
            stack.stop()
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
    with psycopg.connect(server.url("product", "shop")) as product:
        assert product.execute("SELECT sum(seats) FROM tenant_acme.rooms").fetchone() == (420,)
        assert product.execute("SELECT count(*) FROM pg_roles WHERE rolname ~ '^stowage'").fetchone() == (0,)
