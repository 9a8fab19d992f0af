"""The demonstration: exports and a backup of a sample tenant, through HTTP alone, as any client would make them."""

import csv
import gzip
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from local.console import say, settle, show
from local.gateway import UNLOGGED_READER
from local.tokens import sign_in_url

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
    client = Client(description["api_url"], description["tokens"]["admin"])
    try:
        show_export(client, folder, "posts", "csv", rows_of_csv)
        show_export(client, folder, "accounts", "xlsx", rows_of_xlsx)
        show_backup(client, folder)
    except (DemonstrationError, requests.RequestException) as error:
        say(f"The demonstration failed: {error}")
        say(f"The logs are in {stack.configuration.logs}")
        return 1
    if once:
        return 0
    say(where_to_look(description, stack.configuration.home / "stack.json"))
    while not stopping.wait(0.5):  # a signal that another thread gets does not wake an endless wait
        pass
    return 0


class Client:
    """The API as an admin of the sample tenants sees it."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._session = url, requests.Session()
        self._session.headers.update({"authorization": f"Bearer {token}", "user-agent": UNLOGGED_READER})

    def call(self, method: str, path: str, body: Json = None) -> Json:
        """A JSON answer; DemonstrationError with the API's own sentence where it refuses."""
        response = self._session.request(method, self._url + path, json=body, timeout=40)
        if not response.ok:
            raise DemonstrationError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return response.json()

    def download(self, url: str, folder: Path) -> Path:
        """Follow a download link and keep the file under the name that it bears."""
        with self._session.get(url if "://" in url else self._url + url, stream=True, timeout=40) as response:
            if not response.ok:
                raise DemonstrationError(f"The download answered {response.status_code}: {response.text[:300]}")
            name = response.headers["content-disposition"].partition('filename="')[2].partition('"')[0]
            path = folder / Path(name).name
            with path.open("wb") as file:
                for piece in response.iter_content(1 << 18):
                    file.write(piece)
        return path


def show_export(client: Client, folder: Path, data_type: str, format: str, count: Callable[[Path], int]) -> None:
    """Export an entity, download the file, count the rows in it."""
    base = f"/api/guilds/{TENANT}/exports"
    say(f"\nExport of {TENANT}'s {data_type} as {format}: POST {base}")
    export = client.call("POST", base, {"format": format, "mode": "all", "dataType": data_type})

    def progress() -> Json:
        return client.call("GET", f"{base}/{export['id']}/progress?wait=1")

    follow(progress, lambda state: (state["status"], state["progress"], state["message"]))
    export = client.call("GET", f"{base}/{export['id']}")
    path = client.download(export["downloadUrl"], folder)
    rows = count(path)
    if rows != export["recordCount"]:
        raise DemonstrationError(f"{path} holds {rows} rows, the export says {export['recordCount']}")
    say(f"  {path}: {path.stat().st_size:,} bytes, opened, {rows:,} rows")


def show_backup(client: Client, folder: Path) -> None:
    """Back the tenant up, download the dump, compare its hash, read it to its end."""
    say(f"\nBackup of {TENANT} by pg_dump: POST /api/backup/export")
    job = client.call("POST", "/api/backup/export", {"project_id": TENANT})["data"]
    path_of_job = f"/api/jobs/{job['job_id']}"

    def progress() -> Json:
        time.sleep(0.25)
        return client.call("GET", path_of_job)["data"]

    follow(progress, lambda state: (state["status"], state["progress"]["percent"], state["progress"]["message"]))
    result = client.call("GET", path_of_job)["data"]["result"]
    path = client.download(result["download_path"], folder)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != result["sha256"]:
        raise DemonstrationError(f"{path} has the SHA-256 {digest}, the backup says {result['sha256']}")
    with gzip.open(path) as dump:
        lines, ended = 0, False
        for line in dump:
            lines += 1
            ended |= DUMP_END in line
    if not ended:
        raise DemonstrationError(f"{path} ends before the dump does")
    say(f"  {path}: {path.stat().st_size:,} bytes, SHA-256 {digest[:16]}… as recorded, {lines:,} lines")


def follow(look: Callable[[], Json], read: Callable[[Json], tuple[str, float, str | None]]) -> None:
    """Draw a bar until the run has ended; DemonstrationError unless it completed."""
    started = time.monotonic()
    while True:
        status, percent, message = read(look())
        line = bar(percent, message or status, time.monotonic() - started)
        if status in ("completed", "failed", "cancelled"):
            settle(line)
            if status != "completed":
                raise DemonstrationError(f"the run is {status}: {message}")
            return
        show(line)


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
