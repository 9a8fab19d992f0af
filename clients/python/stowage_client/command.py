"""`stowage`: exports, imports, backups, bringing records back and following changes, from a shell."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stowage_client.answers import BulkOperationResult
from stowage_client.client import Stowage
from stowage_client.errors import StowageError
from stowage_client.files import Progress

BAR = 30
EPILOG = "STOWAGE_URL and STOWAGE_TOKEN (a JWT or an API key) say where and as whom."


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command. 0: done; 1: refused, failed, or not done for every record; 2: not understood."""
    understood = parser()
    given = understood.parse_args(arguments)
    url, token = given.url or os.environ.get("STOWAGE_URL"), os.environ.get("STOWAGE_TOKEN")
    if not url or not token:
        understood.error("Set STOWAGE_URL (or --url) and STOWAGE_TOKEN.")
    try:
        with Stowage(url, token, given.tenant) as stowage:
            return int(given.carry_out(stowage, given) or 0)
    except StowageError as error:
        _say(f"stowage: {error}")
        for detail in error.details:
            _say(f"  {detail.get('field')}: {detail.get('message')}")
        facts = [error.code, error.status, error.request_id and f"request {error.request_id}"]
        _say(f"  ({', '.join(str(fact) for fact in facts if fact)})" if any(facts) else "")
        return 1
    except (OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError):  # whoever read the output has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        _say(f"stowage: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    made = argparse.ArgumentParser("stowage", description="Stowage from a shell.", epilog=EPILOG)
    made.add_argument("--url", help="the API's address, instead of STOWAGE_URL")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, carry_out: Any, help: str, *, tenant: str | None = None) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=help, description=help, epilog=EPILOG)
        one.add_argument("tenant", nargs=tenant, help="the tenant's id")
        one.set_defaults(carry_out=carry_out)
        return one

    one = command("export", _export, "Export an entity into a file.")
    one.add_argument("entity", help="such as posts; audit; or gdpr, all that the tenant has")
    one.add_argument(
        "--format", default="csv", choices=("csv", "json", "ndjson", "xlsx", "parquet"), help="csv if it is not said"
    )
    one.add_argument("--filter", action="append", default=[], metavar="NAME=VALUE", help="may be given several times")
    one.add_argument("-o", "--output", metavar="FILE", help="the export's own name if it is not said")

    one = command("import", _import, "Import a file: csv, ndjson or xlsx.")
    one.add_argument("entity", help="such as tasks")
    one.add_argument("file", help="its ending says the format")
    one.add_argument(
        "--on-conflict", default="fail", choices=("fail", "skip", "update"), help="for rows whose record is there"
    )

    one = command("backup", _backup, "Back a tenant up; print the backup's id.")
    one.add_argument("--format", default="sql", choices=("sql", "tar", "custom"), help="sql if it is not said")
    one.add_argument("--wait", action="store_true", help="until it is stored and verified")
    one.add_argument("-o", "--output", metavar="FILE", help="wait, and download it")

    one = command("bring-back", _bring_back, "Bring records back as a backup has them.")
    one.add_argument("backup", help="its id")
    one.add_argument("entity", help="such as accounts")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("--ids", nargs="+", metavar="ID", help="these records")
    which.add_argument("--kind", choices=("only_in_backup", "changed"), help="all of such")
    one.add_argument("--fields", nargs="+", metavar="FIELD", help="these values alone")
    one.add_argument(
        "--on-conflict", default="fail", choices=("fail", "rename"), help="where another record has what is unique"
    )

    one = command("undo", _undo, "Undo an operation.")
    one.add_argument("operation", help="its id, op_…")

    one = command("jobs", _jobs, "List runs, newest first, a line each; of all tenants if none is said.", tenant="?")
    one.add_argument("--type", help="several by commas")
    one.add_argument("--status", help="several by commas")
    one.add_argument("--limit", type=int, default=20, help="20 if it is not said")
    one.add_argument("--json", action="store_true", help="whole, as JSON lines")

    one = command("changes", _changes, "Print an entity's changes as JSON lines, with the cursor behind each.")
    one.add_argument("entity", help="such as tasks")
    one.add_argument("--after", metavar="CURSOR", help="from now on if it is not said")
    one.add_argument("--once", action="store_true", help="end where there are no more")
    return made


def _export(stowage: Stowage, given: argparse.Namespace) -> None:
    filters = dict(_pair(each) for each in given.filter)
    with _bar() as progress:
        export = stowage.start_export(given.entity, given.format, filters=filters)
        export = stowage.wait_for_export(export["id"], progress=progress)
        path = stowage.download_export(export["id"], given.output or Path(export["filename"]).name, progress=progress)
    print(path)


def _import(stowage: Stowage, given: argparse.Namespace) -> int:
    with _bar() as progress:
        job = stowage.start_import(given.entity, given.file, progress=progress, onConflict=given.on_conflict)
        job = stowage.wait(job["id"], progress=progress)
    print(json.dumps(job["result"], ensure_ascii=False))
    return int(bool((job["result"] or {}).get("failed")))


def _backup(stowage: Stowage, given: argparse.Namespace) -> None:
    backup = stowage.start_backup(given.format)["job_id"]
    if given.wait or given.output:
        with _bar() as progress:
            stowage.wait(backup, progress=progress)
            if given.output:
                stowage.download_backup(backup, given.output, progress=progress)
    print(backup)


def _bring_back(stowage: Stowage, given: argparse.Namespace) -> int:
    with _bar() as progress:
        compared = stowage.wait(stowage.compare(given.backup, [given.entity])["id"], progress=progress)
    results = stowage.bring_back(
        compared["id"],
        given.entity,
        given.ids,
        kind=given.kind,
        fields=given.fields,
        on_conflict=given.on_conflict,
    )
    return _told(results)


def _undo(stowage: Stowage, given: argparse.Namespace) -> int:
    return _told(stowage.undo(given.operation))


def _told(results: list[BulkOperationResult]) -> int:
    """Print what became of the records; 1 where one of them failed."""
    for result in results:
        print(f"{result['operationId']}: {result['succeeded']} of {result['total']} records")
        for item in result["results"]:
            if item["status"] == "error":
                _say(f"  {item['id']}: {item.get('error', '')} ({item.get('code')})")
    return int(any(result["failed"] for result in results))


def _jobs(stowage: Stowage, given: argparse.Namespace) -> None:
    jobs = stowage.jobs(type=given.type, status=given.status, limit=min(max(given.limit, 1), 100))
    for _, job in zip(range(given.limit), jobs, strict=False):
        if given.json:
            print(json.dumps(job, ensure_ascii=False))
        else:
            print(job["created_at"], job["id"], job["project_id"], job["type"], job["status"], sep="\t")


def _changes(stowage: Stowage, given: argparse.Namespace) -> None:
    changes = stowage.changes(given.entity, given.after, follow=not given.once)
    for event in changes:
        print(json.dumps({"cursor": changes.cursor, "event": event}, ensure_ascii=False), flush=True)
    if given.once:
        print(json.dumps({"cursor": changes.cursor}), flush=True)


def _pair(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise ValueError(f"A filter is NAME=VALUE, and not {text!r}.")
    return name, value


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """Draws a bar where a person looks on, and nothing anywhere else."""
    if not sys.stderr.isatty():
        yield None
        return
    began = time.monotonic()

    def draw(percent: float, text: str) -> None:
        filled = round(min(percent, 100) / 100 * BAR)
        bar = "█" * filled + "░" * (BAR - filled)
        sys.stderr.write(f"\r\x1b[K{bar} {percent:5.1f} %  {time.monotonic() - began:4.1f} s  {text[:40]}")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _say(line: str) -> None:
    if line:
        print(line, file=sys.stderr)
