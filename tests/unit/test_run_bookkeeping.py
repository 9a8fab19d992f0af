"""Counts, summaries and lists on a real table: what many changes at once leave, and how much is read for an answer."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stowage import backups, exports, jobs
from stowage.access.identity import Identity
from stowage.aws import objects, table
from stowage.aws.table import ConditionFailedError
from stowage.basics.errors import ConflictError, NotFoundError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.jobs.pages import count_jobs, list_jobs, wanted_runs
from stowage.pipeline.source import Source
from stowage.protection.fleet import read_stats
from stowage.runs import counters, settle, using
from stowage.runs.attempt import Attempt, Product
from stowage.runs.change import cancel_run, forget_run, retry_run
from stowage.runs.clock import expire, free_places, start_waiting
from stowage.runs.counters import count_history, read_counts
from stowage.runs.dispatch import dispatch, read_leases
from stowage.runs.kinds import EXPORT, EXPORT_BACKUP, VERIFY
from stowage.runs.plan import _start
from stowage.runs.progress import Reporter
from stowage.runs.record import NO_DATABASE, Run, new_item
from stowage.runs.settle import settle as end_attempt
from stowage.runs.store import create_run, find_run, read_progress, read_run
from stowage.runs.summary import read_summary
from stowage.tenants import Tenant
from tests.cloud import Cloud, cloud

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ADMIN = Identity("ada", "admin", frozenset({"acme"}), NOW + timedelta(days=999))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch) as made:
        yield made


class Bytes:
    """A source of a few bytes."""

    rows = 3

    def chunks(self) -> Iterator[bytes]:
        yield b"some bytes"

    def finish(self) -> None: ...

    def close(self) -> None: ...


def asked(at: datetime = NOW, kind: str = EXPORT_BACKUP.name, tenant: str = "acme", **more: Any) -> Run:
    """A run that waits."""
    spec = {"format": "sql", "compress": True, "file_name": "f.sql", "dataType": "accounts", "filename": "f"}
    run = Run(
        id=new_run_id(at), tenant=tenant, kind=kind, database="main", spec=spec | more.pop("spec", {}),
        requested_by="ada", created_at=rfc3339(at), **more,
    )  # fmt: skip
    create_run(run, at, [])
    return read_run(tenant, run.id)


def started(run: Run, at: datetime) -> Run:
    """The same run, running."""
    dispatch(run.pool, at)
    launched = read_run(run.tenant, run.id)
    _start(launched, launched.attempt, str(launched.execution), at)
    return read_run(run.tenant, run.id)


def ended(run: Run, at: datetime, facts: dict[str, Any] | None = None) -> Run:
    """The same run, completed."""
    running = started(run, at)
    reporter = Reporter(running, read_progress(running.id) or {})
    attempt = Attempt(running, reporter, lambda: at)
    if facts is None:
        source: Source = Bytes()
        attempt.store(Product("f", "f", "text/plain", source, manifest={"contents": {"table_count": 1}}))
    attempt.finish(facts or {}, rows=3)
    done = end_attempt(run.tenant, run.id, running.attempt, at + timedelta(seconds=2))
    assert done is not None
    assert done.status == "completed"
    return read_run(run.tenant, run.id)


def verified(backup: Run, at: datetime, *, ok: bool = True) -> Run:
    """The backup after a verification."""
    facts = {"verification": {"level": 2, "at": rfc3339(at), "ok": ok}}
    ended(asked(at, VERIFY.name, uses=backup.id, spec={"size_bytes": 10}), at, facts)
    return read_run(backup.tenant, backup.id)


def counted(tenant: str | None = "acme", kind: str = EXPORT_BACKUP.name) -> dict[str, int]:
    """All counts of a kind but those of durations; None: over all tenants."""
    whole: Counter[str] = Counter()
    for each in read_counts(None if tenant is None else [tenant], NOW.date() - timedelta(days=400)):
        whole += each.by if each.kind == kind else Counter()
    return {name: n for name, n in whole.items() if not name.startswith("ms_")}


def test_a_run_is_settled_once_though_two_find_it_launched(here: Cloud) -> None:
    """The first makes it wait again; the second has read it before."""
    run = asked()
    dispatch("main", NOW)
    stale = read_run("acme", run.id)
    assert (stale.status, stale.attempt) == ("pending", 1)
    first = end_attempt("acme", run.id, 1, NOW)
    assert first is not None
    assert first.status == "pending"
    again = settle._settled(stale, None, settle._failure(stale, None, settle.Ending()), [], NOW)
    with pytest.raises(ConditionFailedError):
        table.transact(settle._writes(stale, again, again.error, NOW))
    assert len(read_run("acme", run.id).attempts) == 1


def test_who_deletes_a_run_takes_off_what_it_counts_now(here: Cloud) -> None:
    """Read when it had stopped with files, then started anew and cancelled while it waited: the bytes are gone."""
    run = asked()
    stopped = {"status": "cancelled", "completed_at": rfc3339(NOW), "attempt": 1, "due_list": "SWEEP"}
    outcome = {
        "files": {"file": {"key": "acme/backups/x/1/f", "file_name": "f", "content_type": "c", "size_bytes": 700}}
    }
    after = Run.model_validate(run.model_dump() | stopped | {"outcome": outcome})
    table.transact([table.Update(run.pk, run.sk, stopped | {"outcome": outcome}), *counters.counting(run, after)])
    read_before = read_run("acme", run.id)
    cancel_run(retry_run(read_before, "ada", NOW), "ada", NOW + timedelta(seconds=1))
    assert counted() == {"cancelled": 1}
    forget_run(read_before, "ada", NOW)
    assert find_run("acme", run.id) is None
    assert (counted(), counted(None)) == ({}, {})


def test_of_two_who_delete_a_run_the_second_finds_it_gone(here: Cloud) -> None:
    done = ended(asked(), NOW)
    forget_run(done, "ada", NOW)
    with pytest.raises(NotFoundError):
        forget_run(done, "eve", NOW)
    assert counted() == {}


def test_a_deletion_that_broke_off_goes_on(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ended(asked(), NOW)
    with monkeypatch.context() as patch:
        patch.setattr(objects, "erase_prefix", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget_run(done, "ada", NOW)
    assert counted() == {"expired": 1, "expired_bytes": 10}
    forget_run(read_run("acme", done.id), "ada", NOW)
    assert (find_run("acme", done.id), counted()) == (None, {})


def test_a_deleted_backup_leaves_no_version_of_any_attempt(here: Cloud) -> None:
    done = ended(asked(), NOW)
    other = ended(asked(NOW + timedelta(hours=1)), NOW + timedelta(hours=1))
    objects.delete_prefix("backups", done.prefix(1))
    forget_run(done, "ada", NOW)
    left = objects.s3().list_object_versions(Bucket="backups")
    assert {each["Key"] for each in left["Versions"]} == {other.prefix(1) + name for name in ("f", "manifest.json")}
    assert "DeleteMarkers" not in left


@pytest.mark.parametrize("lock", ["retention", "legal hold"])
def test_a_backup_that_the_bucket_keeps_is_not_touched(here: Cloud, lock: str) -> None:
    done = ended(asked(), NOW)
    key = done.prefix(1) + "f"
    if lock == "retention":
        until = {"Mode": "GOVERNANCE", "RetainUntilDate": NOW + timedelta(days=7)}
        objects.s3().put_object_retention(Bucket="backups", Key=key, Retention=until)
    else:
        objects.s3().put_object_legal_hold(Bucket="backups", Key=key, LegalHold={"Status": "ON"})
    with pytest.raises(ConflictError) as refused:
        forget_run(done, "ada", NOW)
    assert refused.value.code == "locked"
    assert read_run("acme", done.id) == done
    if lock == "retention":
        forget_run(done, "ada", NOW + timedelta(days=8))


def test_a_summary_follows_the_newest_verified_backup_that_is_kept(here: Cloud) -> None:
    days = [NOW + timedelta(days=n) for n in range(3)]
    first, second, third = (ended(asked(day), day) for day in days)
    assert read_summary("acme")["last_success"]["id"] == third.id

    def newest() -> str | None:
        told = read_summary("acme").get("last_verified")
        return told["id"] if told else None

    assert newest() is None
    second = verified(second, days[2])
    assert newest() == second.id
    first = verified(first, days[2])
    assert newest() == second.id, "an older one does not replace it"
    third = verified(third, days[2])
    assert newest() == third.id
    third = verified(third, days[2], ok=False)
    assert newest() == second.id, "a damaged one is no proof"
    assert expire(second, days[1] + timedelta(days=31))
    assert newest() == first.id, "what has expired protects nobody"
    forget_run(read_run("acme", first.id), "ada", days[2])
    assert newest() is None
    assert read_summary("acme")["last_success"]["id"] == third.id


def test_two_verifications_that_end_at_once_leave_the_summary_of_the_later(here: Cloud) -> None:
    backup = ended(asked(), NOW)
    good = {"level": 2, "at": rfc3339(NOW), "ok": True}
    run = Run(id="v", tenant="acme", kind=VERIFY.name, database="main", spec={}, requested_by="ada",
              created_at=rfc3339(NOW), uses=backup.id, outcome={"facts": {"verification": good}})  # fmt: skip
    writes = using.let_go(run)
    verified(backup, NOW + timedelta(seconds=5), ok=False)
    with pytest.raises(ConditionFailedError):
        table.transact(writes)
    table.transact(using.let_go(run))
    assert read_summary("acme")["last_verified"]["id"] == backup.id


def test_a_record_that_nobody_can_read_keeps_no_other_from_being_counted(here: Cloud) -> None:
    """They are of the version before, which counted none."""
    for number in range(3):
        run = Run(
            id=new_run_id(NOW), tenant="acme", kind=EXPORT.name, database="main", spec={}, requested_by="ada",
            created_at=rfc3339(NOW),
        )  # fmt: skip
        item = new_item(run, 0)
        item.pop("counted", None)
        table.put(item | ({"status": "unheard of"} if number == 1 else {}))
    later = NOW + timedelta(minutes=20)
    assert counters.recount(NOW, lambda: True) == 0
    with pytest.raises(ExceptionGroup, match="1 records"):
        counters.recount(later, lambda: True)
    assert counted(kind=EXPORT.name) == {"pending": 2}
    assert counters.recount(later, lambda: True) == 0
    assert table.get("RECOUNT", "STATE")["is_done"]


def test_a_backup_of_the_version_before_is_summed_up_when_it_is_counted(here: Cloud) -> None:
    old = ended(asked(NOW - timedelta(days=1)), NOW - timedelta(days=1))
    new = ended(asked(), NOW)
    for item in here.items():
        if item["sk"]["S"].startswith(("COUNT#", "TENANT#")):
            table.delete(item["pk"]["S"], item["sk"]["S"])
    for run in (old, new):
        table.update(run.pk, run.sk, remove=("counted",))
    counters.recount(NOW, lambda: True)
    assert counters.recount(NOW + timedelta(minutes=20), lambda: True) == 2
    assert counted() == {"completed": 2, "bytes": 20}
    assert read_summary("acme")["last_success"]["id"] == new.id


def test_what_changes_while_it_is_counted_late_is_counted_as_it_is_then(here: Cloud) -> None:
    run = asked()
    table.delete("T#acme", f"COUNT#2026-11-20#{run.kind}")
    stale = read_run("acme", run.id).model_copy(update={"counted": False})
    table.update(run.pk, run.sk, {"status": "failed", "completed_at": rfc3339(NOW)}, remove=("counted",))
    assert counters._count_late(stale) == 1
    assert counted() == {"failed": 1}
    assert counters._count_late(stale) == 0
    assert counted() == {"failed": 1}


def test_runs_that_speak_no_sql_take_no_place_of_a_database(here: Cloud) -> None:
    backup = ended(asked(tenant="acme"), NOW)
    busy = [asked(NOW + timedelta(seconds=n), EXPORT.name, f"t{n}") for n in range(5)]
    assert [run.id for run in dispatch("main", NOW)] == [run.id for run in busy[:4]], "its places are taken"
    verifications = [
        asked(kind=VERIFY.name, uses=backup.id, spec={"size_bytes": 10}, at=NOW + timedelta(seconds=n))
        for n in range(4)
    ]
    assert dispatch("main", NOW) == []
    later = NOW + timedelta(minutes=1)
    assert start_waiting(later, lambda: True) == 3, "as many of a tenant as may be in the worker"
    assert read_run("acme", verifications[3].id).due_list == "WAITING#-"
    assert {lease.run for lease in read_leases("main").held} == {run.id for run in busy[:4]}
    assert {lease.run for lease in read_leases(NO_DATABASE).held} == {run.id for run in verifications[:3]}
    first = read_run("acme", verifications[0].id)
    assert end_attempt("acme", first.id, 1, later) is not None
    assert first.id not in {lease.run for lease in read_leases(NO_DATABASE).held}
    assert start_waiting(later, lambda: True) == 1
    assert free_places(later, lambda: True) == 0


RECORDS = 2_000


@pytest.fixture
def history(here: Cloud) -> Cloud:
    """2,000 completed backups of acme, each counted, of sixty days."""
    items: list[dict[str, Any]] = []
    added: dict[tuple[str, str], Counter[str]] = {}
    for number in range(RECORDS):
        at = NOW - timedelta(minutes=43 * number)
        file = {"key": "k", "file_name": "f", "content_type": "c", "size_bytes": 10}
        run = Run(
            id=new_run_id(at), tenant="acme", kind=EXPORT_BACKUP.name, database="main", requested_by="ada",
            spec={"format": "sql", "compress": True, "file_name": "f.sql"}, created_at=rfc3339(at), counted=True,
            status="completed", started_at=rfc3339(at), completed_at=rfc3339(at + timedelta(seconds=number % 50)),
            outcome={"files": {"file": file}}, expires_at=rfc3339(at + timedelta(days=30)), attempt=1,
        )  # fmt: skip
        items.append(new_item(run, 0) | {"due_list": "SWEEP", "due_at": run.expires_at})
        for write in counters.counting(None, run):
            assert isinstance(write, table.Update)
            added.setdefault((write.pk, write.sk), Counter()).update(write.add)
    here.fill(items)
    here.fill({"pk": pk, "sk": sk, **counts} for (pk, sk), counts in added.items())
    return here


def test_an_answer_never_reads_a_whole_history(history: Cloud) -> None:
    days = 61
    with history.reading() as read:
        assert count_history("acme", "backups", None, NOW) == RECORDS
        assert read.items_read <= days, "totals read one item a day and kind"
    with history.reading() as read:
        assert count_jobs(["acme"], wanted_runs(NOW), NOW) == RECORDS
        assert read.items_read <= days
    with history.reading() as read:
        assert jobs.read_stats(["acme"], NOW, 90).total == RECORDS
        assert read.items_read <= days
    with history.reading() as read:
        assert jobs.read_stats(None, NOW, 30).total > 900
        assert read.items_read <= 31 * 8
    with history.reading() as read:
        stats = read_stats([Tenant("acme", "acme", "Acme")], ["acme"], NOW)
        assert stats.total == RECORDS
        assert read.items_read <= days + 1
    with history.reading() as read:
        page = backups.list_backups("acme", NOW, None, 0, 20)
        assert (len(page.data), page.total, page.has_more) == (20, RECORDS, True)
        assert read.items_read <= days + 42
    for tenants in (["acme"], None):
        with history.reading() as read:
            listed_jobs = list_jobs(tenants, ADMIN, wanted_runs(NOW), NOW, cursor=None, limit=20)
            assert len(listed_jobs.data) == 20
            assert listed_jobs.next_cursor
            assert read.items_read <= 80 + days * (1 if tenants else counters.SHARDS)
    with history.reading() as read:
        listed = exports.list_exports("acme", ADMIN, NOW, 1, 20, "https://stowage.example.com")
        assert listed.pagination.total == 0
        assert read.items_read <= days + 10
