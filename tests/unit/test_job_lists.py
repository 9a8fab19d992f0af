"""Lists of jobs: whatever is asked for, a list shows what a look at every record would, and reads little for it."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from stowage.access.identity import Identity
from stowage.aws import table
from stowage.basics.ids import new_run_id, rfc3339
from stowage.jobs import pages
from stowage.jobs.pages import count_jobs, list_jobs, wanted_runs
from stowage.runs import counters
from stowage.runs.change import cancel_run, forget_run, retry_run
from stowage.runs.listing import missed_slot
from stowage.runs.record import Run, new_item, queue_place, waiting_list
from stowage.runs.store import create_run, read_run
from stowage.settings import settings
from tests.cloud import Cloud, cloud

type Json = Any
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ADMIN = Identity("ada", "admin", frozenset({"*"}), NOW + timedelta(days=999))
SPEC = {"format": "sql", "compress": True, "dataType": "accounts", "mode": "all", "filename": "f"}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


def run_of(at: datetime, tenant: str, kind: str, status: str, trigger: str, **more: Json) -> Run:
    ended = {"completed_at": rfc3339(at + timedelta(seconds=3))} if status not in ("pending", "running") else {}
    return Run.model_validate(
        {
            "id": new_run_id(at), "tenant": tenant, "kind": kind, "database": "main", "spec": SPEC, "counted": True,
            "requested_by": "ada", "created_at": rfc3339(at), "status": status, "trigger": trigger, **ended, **more,
        }
    )  # fmt: skip


def fill(here: Cloud, runs: list[Run]) -> None:
    """Put runs in the table with what the product keeps beside each: counts, marks, the lists of the unfinished."""
    items: list[Json] = []
    counts: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        due = {"pending": waiting_list(run.pool), "running": "ACTIVE"}.get(run.status, "SWEEP")
        item = new_item(run, 0) | {"due_list": due, "due_at": queue_place(run) if run.status == "pending" else "x"}
        progress = {"status": run.status, "stage": "x", "message": "", "percent": 0, "bytes": 0, "rows": 0}
        items += [item, {"pk": f"RUN#{run.id}", "sk": "PROGRESS", "tenant": run.tenant, **progress}]
        for write in counters.counting(None, run):
            if isinstance(write, table.Update):
                counts.setdefault((write.pk, write.sk), Counter()).update(write.add)
            elif isinstance(write, table.Put):
                items.append(write.item)
    here.fill(items)
    here.fill({"pk": pk, "sk": sk, **added} for (pk, sk), added in counts.items())


def all_pages(tenants: list[str] | None, limit: int, **filters: Json) -> list[Json]:
    """The jobs of every page; each but the last is full, as few records are looked at here."""
    found: list[Json] = []
    cursor = None
    while True:
        page = list_jobs(tenants, ADMIN, wanted_runs(NOW, **filters), NOW, cursor=cursor, limit=limit)
        found += page.data
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.data) == limit


def all_ids(tenants: list[str] | None, limit: int, **filters: Json) -> list[str]:
    """The same by ids, without reading how far each job is."""
    found: list[str] = []
    cursor = None
    while True:
        rows, cursor = pages._take(tenants, wanted_runs(NOW, **filters), NOW, cursor, limit)
        found += [row.id for row in rows]
        if cursor is None:
            return found


KINDS, STATUSES = ("export_backup", "export", "verify"), ("completed", "failed", "cancelled", "running", "pending")
BOUNDS = {"since": NOW - timedelta(days=5), "until": NOW - timedelta(days=2)}


def test_a_list_shows_what_a_look_at_every_record_would(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUN_DAYS", "BACKUP_DAYS"):
        monkeypatch.setenv(f"STOWAGE_{name}", "4")
    settings.cache_clear()
    chance = random.Random(7)
    runs = [
        run_of(
            NOW - timedelta(minutes=chance.randrange(60 * 24 * 7)),
            chance.choice(["acme", "globex"]),
            chance.choice(KINDS),
            chance.choice(STATUSES),
            chance.choice(["manual", "schedule"]),
            error={"code": "c", "message": "Out of Paper"} if chance.random() < 0.2 else None,
        )
        for _ in range(90)
    ]
    runs.sort(key=lambda run: run.id, reverse=True)
    fill(here, runs)
    slots = [missed_slot("acme", "export_backup", NOW - timedelta(days=n)).item for n in (1, 3, 6)]
    here.fill(slots)
    choices: list[dict[str, Json]] = [
        {"kinds": kinds, "statuses": statuses, **more}
        for kinds, statuses, more in product(
            [(), ("export",), ("export_backup", "verify")],
            [(), ("failed",), ("cancelled", "failed"), ("running",), ("pending", "running", "failed"), ("completed",)],
            [{}, {"trigger": "manual"}, BOUNDS, {"text": "of paper"}],
        )
    ]

    def wants(run: Run, chosen: dict[str, Json]) -> bool:
        return (
            (not chosen["kinds"] or run.kind in chosen["kinds"])
            and (not chosen["statuses"] or run.status in chosen["statuses"])
            and chosen.get("trigger") in (None, run.trigger)
            and ("text" not in chosen or run.error is not None)
            and ("since" not in chosen or rfc3339(chosen["since"]) <= run.created_at < rfc3339(chosen["until"]))
        )

    for place, chosen in enumerate(chance.sample(choices, 30)):
        tenants = (["acme"], ["acme", "globex"], None)[place % 3]
        expected = [run.id for run in runs if wants(run, chosen) and (tenants is None or run.tenant in tenants)]
        assert all_ids(tenants, 100 if place % 5 else 9, **chosen) == expected, (tenants, chosen)
        total = count_jobs(tenants, wanted_runs(NOW, **chosen), NOW)
        assert total in (None, len(expected)), (tenants, chosen)
        if not chosen.keys() & {"trigger", "since", "text"} and (tenants or chosen["statuses"] != ("running",)):
            assert total == len(expected), (tenants, chosen)
    for missed in (["acme"], None):
        rows = all_pages(missed, 9, with_missed=True)
        assert [row.id for row in rows] == sorted((row.id for row in rows), reverse=True)
        told = [(row.created_at, row.actions, row.error_code) for row in rows if row.status == "missed"]
        assert told == [(slot["created_at"], [], "missed") for slot in slots]
        assert len(rows) == len(slots) + sum(missed is None or run.tenant in missed for run in runs)
    assert [row.id for row in all_pages(["globex"], 100, with_missed=True)] == [
        run.id for run in runs if run.tenant == "globex"
    ]


def test_marks_follow_what_people_do_to_runs(here: Cloud) -> None:
    def listed(*statuses: str) -> list[str]:
        return [job.id for job in all_pages(["acme"], 100, statuses=statuses)]

    run = run_of(NOW, "acme", "export", "pending", "manual")
    create_run(run, NOW, [])
    assert (listed("cancelled"), listed("pending")) == ([], [run.id])
    ended = cancel_run(read_run("acme", run.id), "ada", NOW)
    assert (listed("cancelled"), listed("pending", "running")) == ([run.id], [])
    again = retry_run(ended, "ada", NOW)
    assert (listed("cancelled"), listed("pending")) == ([], [run.id])
    forget_run(cancel_run(again, "ada", NOW), "ada", NOW)
    assert (listed("cancelled", "failed", "pending"), listed()) == ([], [])
    assert all(item["sk"]["S"][:6] != "ENDED#" for item in here.items())


MANY = 600


def test_a_page_reads_as_little_of_a_long_history_as_of_a_short_one(here: Cloud) -> None:
    """Of 600 runs within 60 days six have not completed; the filters by status find them without the others."""
    rare = {1: "running", 2: "pending", 150: "failed", 300: "cancelled", 500: "failed", 590: "pending"}
    fill(
        here,
        [
            run_of(NOW - timedelta(minutes=140 * n), "acme", "export_backup", rare.get(n, "completed"), "schedule")
            for n in range(MANY)
        ],
    )
    cases: list[tuple[dict[str, Json], int, int]] = [
        ({}, 50, 60),
        ({"statuses": ("failed",)}, 2, 10),
        ({"statuses": ("failed", "cancelled")}, 3, 10),
        ({"statuses": ("running", "pending")}, 3, 210),
        ({"statuses": ("completed",)}, 50, 110),
        ({"kinds": ("export_backup",)}, 50, 110),
    ]
    for tenants in (["acme"], None):
        for filters, many, most in cases:
            with here.reading() as read:
                page = list_jobs(tenants, ADMIN, wanted_runs(NOW, **filters), NOW, cursor=None, limit=50)
            assert len(page.data) == many, filters
            counts = 61 * (1 if tenants else counters.SHARDS)
            assert read.items_read - len(page.data) <= most + 2 * counts, (tenants, filters)


def test_a_search_looks_at_a_thousand_records_and_goes_on_from_there(
    here: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_SEARCHED", 30)
    runs = [
        run_of(
            NOW - timedelta(hours=n), "acme", "export", "completed", "manual", requested_by="eve" if n == 70 else "a"
        )
        for n in range(80)
    ]
    fill(here, runs)
    found: list[str] = []
    sizes: list[int] = []
    cursor = None
    while cursor or not sizes:
        page = list_jobs(["acme"], ADMIN, wanted_runs(NOW, text="EVE"), NOW, cursor=cursor, limit=20)
        found += [job.id for job in page.data]
        sizes.append(len(page.data))
        cursor = page.next_cursor
    assert (found, sizes) == ([runs[70].id], [0, 0, 1])
