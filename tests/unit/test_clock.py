"""The clock: sixty days of it in simulated time; what is broken, long or many holds up nothing else."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stowage.aws import clients, table
from stowage.aws.table import Item
from stowage.basics.ids import new_run_id, rfc3339
from stowage.clock import BUDGET_SECONDS, DUTIES, DueList, tick
from stowage.postgres.schema.registry import TenantRow, write_copy
from stowage.runs import audit_notes
from stowage.runs.audit_notes import AUDIT_NOTES, touch_old_notes
from stowage.runs.dispatch import dispatch
from stowage.runs.kinds import EXPORT, EXPORT_BACKUP, EXPORT_LOGS
from stowage.runs.record import Run, new_item
from stowage.runs.store import read_run
from tests.cloud import Cloud, cloud
from tests.unit.test_run_bookkeeping import asked, counted, ended

START = datetime(2026, 10, 1, 2, 0, tzinfo=UTC)
CALLED = {f"{name.upper()}_FUNCTION": name for name in ("purge", "keys", "registry", "check")}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(monkeypatch, **CALLED) as made:
        for name in CALLED.values():
            made.add_function(name)
        yield made


def files(bucket: str) -> set[str]:
    """The runs that have objects in a bucket."""
    found = clients.s3().list_objects_v2(Bucket=bucket).get("Contents", [])
    return {each["Key"].split("/")[2] for each in found}


def told() -> list[tuple[str, str]]:
    """The audit notes that were written since, as their reader takes them."""
    notes = list(table.query("NOTE#audit"))
    for note in notes:
        table.delete(note["pk"], note["sk"])
    return [(note["type"], note["subject"]) for note in notes]


def next_due() -> datetime:
    """When something is due next."""
    first = [next(table.query(name, index="due", page_size=1), None) for name in ("ACTIVE", "SWEEP")]
    return min(datetime.fromisoformat(item["due_at"]) for item in first if item)


def test_sixty_days_of_ticks(here: Cloud) -> None:
    """Ticks come when something is due, each of them twice, and none comes for five days in the middle."""
    made: list[Run] = []
    audit: Counter[tuple[str, str]] = Counter()
    outage = (START + timedelta(days=29), START + timedelta(days=34))
    end = START + timedelta(days=60)
    planned = sorted(
        [(START + timedelta(days=day), EXPORT) for day in range(0, 57, 8)]
        + [(START + timedelta(days=day, hours=1), EXPORT_LOGS) for day in range(0, 57, 16)],
        key=lambda each: each[0],
    )
    lost = asked(START, tenant="globex")
    now = START
    while now < end:
        if planned and planned[0][0] <= now:
            at, kind = planned.pop(0)
            made.append(ended(asked(at, kind.name), at))
        if not outage[0] <= now < outage[1]:
            tick(now)
            audit.update(told())
            again = tick(now)
            assert not any(again.values()), (now, again)
            kept = {run.id for run in made if str(run.expires_at) > rfc3339(now)}
            assert files("exports") | files("backups") == kept, now
            assert not [
                item for name in ("ACTIVE", "SWEEP") for item in table.query(name, index="due", up_to=rfc3339(now))
            ]
            # The executions of one run are lost: nothing tells of them but the clock.
            execution = read_run("globex", lost.id).execution
            if execution:
                _stop(execution)
        times = [at for at, _ in planned[:1]]
        times += [outage[1]] if outage[0] <= now < outage[1] else [next_due(), now + timedelta(days=4)]
        now = max(now + timedelta(minutes=1), min(times))
    failed = read_run("globex", lost.id)
    assert (failed.status, failed.attempt, len(failed.attempts)) == ("failed", 3, 3)
    assert audit["export_backup.failed", lost.id] == 1
    for run in made:
        over = str(run.expires_at) <= rfc3339(now - timedelta(minutes=2))
        assert audit[f"{run.kind}.expired", run.id] == over
        assert (read_run("acme", run.id).expired_at is not None) == over
    for kind in (EXPORT, EXPORT_LOGS):
        states = Counter(
            "expired" if read_run("acme", each.id).expired_at else "completed"
            for each in made
            if each.kind == kind.name
        )
        assert {name: n for name, n in counted(kind=kind.name).items() if not name.endswith("bytes")} == states
    assert len(made) == 12


def _stop(execution: str) -> None:
    machine = clients.stepfunctions().list_state_machines()["stateMachines"][0]["stateMachineArn"]
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{execution}"
    clients.stepfunctions().stop_execution(executionArn=arn)


def test_a_function_is_called_when_its_time_has_come_and_once(here: Cloud) -> None:
    names = ("PURGE", "KEYS", "REGISTRY")
    times = Counter[str]()
    for number in range(26):
        for _ in range(2):
            done = tick(
                START + timedelta(minutes=5 * number, seconds=number), [duty for duty in DUTIES if duty.name in names]
            )
            times.update({name: done[name] for name in names})
    assert times == {"PURGE": 13, "KEYS": 3, "REGISTRY": 3}


def test_an_item_that_nobody_can_read_keeps_no_other_from_its_turn(here: Cloud) -> None:
    run = ended(asked(START, EXPORT.name), START)
    lost = asked(START, tenant="globex")
    dispatch("main", START)
    now = START + timedelta(days=2)
    for name in ("ACTIVE", "SWEEP"):
        table.put({"pk": "T#acme", "sk": f"RUN#{name}", "due_list": name, "due_at": "2026-01-01"})
    waiting = asked(now, EXPORT.name)
    with pytest.raises(ExceptionGroup, match=r"^The clock could not look after: ACTIVE, SWEEP\.") as raised:
        tick(now)
    notes = [note for error in raised.value.exceptions for each in error.exceptions for note in each.__notes__]  # type: ignore[attr-defined]
    assert notes == ["T#acme RUN#ACTIVE", "T#acme RUN#SWEEP"]
    assert read_run("acme", run.id).expired_at
    assert table.get(lost.pk, lost.sk)["due_at"] == rfc3339(now + timedelta(minutes=1))  # type: ignore[index]
    assert read_run("acme", waiting.id).attempt == 1


@pytest.mark.parametrize("broken", ["ACTIVE", "SWEEP", "NOTE#audit", "WAITING#main"])
def test_a_list_that_does_not_answer_keeps_no_other_from_its_turn(here: Cloud, broken: str) -> None:
    run = ended(asked(START, EXPORT.name), START)
    lost = asked(START, tenant="globex")
    dispatch("main", START)
    now = START + timedelta(days=2)
    waiting = asked(now, EXPORT.name)

    def refuse(params: Any, **_: Any) -> None:
        if {"S": broken} in params["ExpressionAttributeValues"].values():
            raise ClientError({"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {}}, "Query")

    clients.dynamodb().meta.events.register("provide-client-params.dynamodb.Query", refuse)
    with pytest.raises(ExceptionGroup) as raised:
        tick(now)
    name = {"NOTE#audit": "notes", "WAITING#main": "waiting"}.get(broken, broken)
    assert raised.value.message == f"The clock could not look after: {name}."
    assert (read_run("acme", run.id).expired_at is None) == (broken == "SWEEP")
    looked_after = table.get(lost.pk, lost.sk)["due_at"] > rfc3339(now)  # type: ignore[index]
    assert looked_after == (broken != "ACTIVE")
    assert (read_run("acme", waiting.id).attempt == 0) == (broken == "WAITING#main")


looked_at: list[Item] = []


def slowly(item: Item, _now: datetime) -> None:
    """Look after an item for five seconds."""
    looked_at.append(item)


def test_a_long_list_leaves_the_others_their_share_of_the_time(here: Cloud) -> None:
    for name in ("ONE", "TWO"):
        here.fill({"pk": name, "sk": str(n), "due_list": name, "due_at": f"2026-01-{n + 1:02d}"} for n in range(30))
    lists = [DueList(name, f"{__name__}:slowly") for name in ("ONE", "TWO")]
    looked_at.clear()
    assert tick(START, lists, lambda: 5.0 * len(looked_at)) == {"ONE": 4, "TWO": 4}
    assert 5 * len(looked_at) == BUDGET_SECONDS


def noted(tenant: str, at: datetime, count: int = 1) -> list[Item]:
    """Audit notes that still wait to be written."""
    return [{"pk": AUDIT_NOTES, "sk": new_run_id(at), "tenant": tenant, "at": rfc3339(at)} for _ in range(count)]


def touched(now: datetime, most: int | None = None) -> list[str]:
    """The notes, by tenant, that a tick sends through the stream once more; it has time for `most`."""
    turns = iter(range(most)) if most is not None else None
    count = touch_old_notes(now, lambda: turns is None or next(turns, None) is not None)
    found = [note["tenant"] for note in table.query(AUDIT_NOTES) if note.get("touched_at") == rfc3339(now)]
    assert len(found) == count
    return found


def test_notes_that_cannot_be_written_starve_no_others(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_notes, "_MOST_TOUCHED", 4)
    stuck = START - timedelta(days=9)
    here.fill(noted("standby", stuck, 9))
    here.fill(noted("acme", START))
    turns = [touched(START + timedelta(minutes=minute)) for minute in range(1, 8)]
    assert turns[0] == ["standby"] * 4
    assert [len(turn) for turn in turns] == [4] * 7
    assert [n for n, turn in enumerate(turns) if "acme" in turn] == [2, 4], "once in every round of ten"
    here.fill(noted("globex", stuck - timedelta(days=1)))
    assert any("globex" in touched(START + timedelta(minutes=minute)) for minute in range(8, 12)), "an older one too"


def test_a_tick_that_has_little_time_goes_on_where_the_last_one_ended(here: Cloud) -> None:
    for n, tenant in enumerate("abcde"):
        here.fill(noted(tenant, START + timedelta(seconds=n)))
    new = START + timedelta(minutes=30)
    here.fill(noted("new", new))
    turns = [touched(START + timedelta(minutes=minute), most=2) for minute in range(5, 9)]
    assert turns == [["a", "b"], ["c", "d"], ["a", "e"], ["b", "c"]]
    assert touched(START + timedelta(minutes=20)) == list("abcde"), "no note twice, and none that is new"
    assert "new" in touched(new + timedelta(minutes=2))


def test_without_notes_that_wait_nothing_is_written(here: Cloud) -> None:
    here.fill(noted("new", START))
    for now in (START, START + timedelta(minutes=1)):
        with here.reading():
            assert touched(now) == []
            assert here.writes == 0


WAITING = 400


def test_a_dispatch_reads_pages_of_a_long_queue_and_never_all_of_it(here: Cloud) -> None:
    def waits(number: int, tenant: str, kind: str) -> Item:
        at = START + timedelta(seconds=number)
        run = Run(
            id=new_run_id(at), tenant=tenant, kind=kind, database="main", spec={}, requested_by="ada",
            created_at=rfc3339(at), counted=True,
        )  # fmt: skip
        return new_item(run, 0)

    here.fill(waits(n, f"t{n}", EXPORT.name) for n in range(WAITING))
    with here.reading():
        assert len(dispatch("main", START)) == 4
        assert here.items_read <= 50 + 10, "one page, and what starting them reads"
    with here.reading():
        assert dispatch("main", START) == []
        assert here.items_read <= 1, "the leases alone: there is no place"
    leases = table.get("DB#main", "LEASES")
    assert leases
    table.update("DB#main", "LEASES", {"held": {"x": {"tenant": "acme", "kind": EXPORT_BACKUP.name, "lane": None}}})
    # 700 backups of one tenant stand in front, and may not start beside the one that runs.
    here.fill(waits(n - 700, "acme", EXPORT_BACKUP.name) for n in range(700))
    reads = []
    for _ in range(3):
        with here.reading():
            found = dispatch("main", START)
            reads.append(here.items_read)
        if found:
            break
    assert found, "it looks further each time"
    assert max(reads) <= 2 * 250 + 100


def test_the_copy_of_the_registry_is_written_where_it_differs(here: Cloud) -> None:
    rows = [TenantRow(f"t{n}", f"slug{n}", f"Tenant {n}", "main") for n in range(60)]
    changed = [TenantRow("t1", "slug1", "Another name", "main"), TenantRow("t2", "slug2", "Tenant 2", "main", 7)]
    for wanted, writes in (
        (rows, 60),
        (rows, 0),
        ([rows[0], *changed, *rows[3:]], 2),
        ([rows[0], *changed, *rows[3:]], 0),
        ([rows[0], *changed, *rows[3:-2], TenantRow("new", "new", "New", "eu")], 3),
        ([], 59),
        ([], 0),
    ):
        with here.reading():
            assert write_copy(wanted, START) == {"tenants": len(wanted), "written": writes}
            assert here.writes == writes
