"""The demonstration: exports and a backup of a sample tenant, through HTTP alone, as any client would make them."""

import csv
import gzip
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.console import say, settle, show
from local.gateway import UNLOGGED_READER
from local.tokens import sign_in_url
from stowage_client import Stowage, StowageError

type Json = Any
TENANT = "acme"
BAR_WIDTH = 30
DUMP_END = b"PostgreSQL database dump complete"


class DemonstrationError(Exception):
    """A run of the demonstration did not end as it should."""


def demonstrate(stack: Any, stopping: threading.Event, *, once: bool) -> int:
    """Show the stack at work, then serve until it is stopped; the exit code."""
    description = stack.description
    folder = stack.configuration.home / "demo"
    folder.mkdir(exist_ok=True)
    stowage = Stowage(description["api_url"], description["tokens"]["admin"], TENANT, user_agent=UNLOGGED_READER)
    try:
        with stowage:
            show_export(stowage, folder, "posts", "csv", rows_of_csv)
            show_export(stowage, folder, "accounts", "xlsx", rows_of_xlsx)
            show_backup(stowage, folder)
    except (DemonstrationError, StowageError) as error:
        say(f"The demonstration failed: {error}")
        say(f"The logs are in {stack.configuration.logs}")
        return 1
    if once:
        return 0
    say(where_to_look(description, stack.configuration.home / "stack.json"))
    while not stopping.wait(0.5):  # a signal that another thread gets does not wake an endless wait
        pass
    return 0


def show_export(stowage: Stowage, folder: Path, data_type: str, format: str, count: Callable[[Path], int]) -> None:
    """Export an entity, download the file, count the rows in it."""
    say(f"\nExport of {TENANT}'s {data_type} as {format}: POST /api/v1/guilds/{TENANT}/exports")
    with drawn() as progress:
        export = stowage.wait_for_export(stowage.start_export(data_type, format)["id"], progress=progress)
    path = stowage.download_export(export["id"], folder / Path(export["filename"]).name)
    rows = count(path)
    if rows != export["recordCount"]:
        raise DemonstrationError(f"{path} holds {rows} rows, the export says {export['recordCount']}")
    say(f"  {path}: {path.stat().st_size:,} bytes, opened, {rows:,} rows")


def show_backup(stowage: Stowage, folder: Path) -> None:
    """Back the tenant up, download the dump, compare its hash, read it to its end."""
    say(f"\nBackup of {TENANT} by pg_dump: POST /api/backup/export")
    with drawn() as progress:
        job = stowage.wait(stowage.start_backup()["job_id"], progress=progress)
    backup = stowage.backup(job["id"])
    path = stowage.download_backup(backup["id"], folder / Path(backup["file_name"]).name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != backup["sha256"]:
        raise DemonstrationError(f"{path} has the SHA-256 {digest}, the backup says {backup['sha256']}")
    with gzip.open(path) as dump:
        lines, ended = 0, False
        for line in dump:
            lines += 1
            ended |= DUMP_END in line
    if not ended:
        raise DemonstrationError(f"{path} ends before the dump does")
    say(f"  {path}: {path.stat().st_size:,} bytes, SHA-256 {digest[:16]}… as recorded, {lines:,} lines")


@contextmanager
def drawn() -> Iterator[Callable[[float, str], None]]:
    """Draw a bar of what a run has done, and leave its last state on the terminal."""
    started, line = time.monotonic(), ""

    def draw(percent: float, text: str) -> None:
        nonlocal line
        line = bar(percent, text, time.monotonic() - started)
        show(line)

    try:
        yield draw
    finally:
        settle(line)


def bar(percent: float, text: str, seconds: float) -> str:
    """A progress bar in one line."""
    filled = round(percent / 100 * BAR_WIDTH)
    return f"  {'█' * filled}{'░' * (BAR_WIDTH - filled)} {percent:5.1f} %  {seconds:4.1f} s  {text[:50]}"


def rows_of_csv(path: Path) -> int:
    """Rows below the header."""
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def rows_of_xlsx(path: Path) -> int:
    """Rows below the headers of all sheets."""
    import openpyxl

    workbook = openpyxl.load_workbook(path, read_only=True)
    rows = sum(sum(1 for _ in sheet.iter_rows(values_only=True)) - 1 for sheet in workbook)
    workbook.close()
    return rows


def where_to_look(description: Json, stack_file: Path) -> str:
    """What a person may try next."""
    url = description["api_url"]
    return f"""
The stack goes on serving; Ctrl-C stops it.

  Console   {sign_in_url(description)}
  API       {url}
  AWS       {description["aws_endpoint_url"]}   (AWS_ENDPOINT_URL of any AWS client; key and secret: local)
  Postgres  psql {description["database_url"]}
  Tokens    admin, operator, viewer, other: in {stack_file}

  TOKEN={description["tokens"]["admin"]}
  curl -H "Authorization: Bearer $TOKEN" {url}/api/v1/me
  curl -H "Authorization: Bearer $TOKEN" {url}/api/guilds/{TENANT}/exports
  curl -H "Authorization: Bearer $TOKEN" {url}/api/jobs
"""
