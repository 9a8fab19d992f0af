"""Loading and swapping on real servers: exact in every format, nothing there after a break, names in every refusal."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local.postgres import binaries
from local.sample.rows import Sizes, fill
from stowage.basics.errors import RunError, StowageError, TransientRunError
from stowage.postgres.dumps.contents import DumpContents, SnapshotContents
from stowage.postgres.dumps.pg_dump import Dump, DumpFormat
from stowage.postgres.dumps.portable import Form
from stowage.postgres.restores import swapping
from stowage.postgres.restores.archives import plain
from stowage.postgres.restores.copies import copy_of, drop_schema, kept_by, must_hold_rows
from stowage.postgres.restores.feed import Feed
from stowage.postgres.restores.loading import load
from stowage.postgres.restores.preflight import has_schema, must_be_restorable, must_be_swappable
from stowage.postgres.restores.rights import grant_restore
from stowage.postgres.restores.swapping import Swap, swap, wait_for_old_snapshots
from stowage.postgres.schema.migrations import apply_roles, migrate
from stowage.postgres.session.connection import ChildLogin
from tests.stack.dump_surface import TENANT_TABLES, ZOO, whole
from tests.stack.servers import NEWEST, OLDER, Server, Servers, start_servers

SCHEMA = "tenant_zoo"
RUN = "01234567-89ab"
FORMATS: tuple[DumpFormat, ...] = ("sql", "tar", "custom")


END_SESSION = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE usename = 'stowage_restore' AND application_name = 'psql'
"""


class Shop:
    """A database in which `shop` owns a tenant with one of everything, and a dump of it in each format."""

    def __init__(self, server: Server) -> None:
        self.database = server.make_database()
        self.owner = self.database.connect()
        apply_roles(self.owner)
        migrate(self.owner)
        self.owner.execute("CREATE ROLE shop; GRANT stowage_owner TO shop")  # for the sample's own migrations
        self.owner.execute("CREATE SCHEMA tenant_zoo AUTHORIZATION shop; SET ROLE shop")
        self.owner.execute("SET search_path = tenant_zoo")
        for file in TENANT_TABLES:
            self.owner.execute(file.read_bytes())
        fill(self.owner, "zoo", Sizes(2, 4, 60, 240, 20, 5))
        self.owner.execute(ZOO.read_bytes())
        self.owner.execute("RESET ROLE; RESET search_path; REVOKE stowage_owner FROM shop")
        grant_restore(self.owner, SCHEMA)
        self.restore = self.database.connect(user="stowage_restore")
        self.contents = self._contents()
        self.dumps = {each: self.dump(each) for each in FORMATS}
        self.lines = self.written()

    def _contents(self) -> DumpContents:
        with SnapshotContents(self.database.connect(), SCHEMA, "18.4") as reading:
            return reading.result()

    def dump(self, dump_format: DumpFormat) -> bytes:
        environment = self.database.environment
        return whole(Dump(SCHEMA, dump_format, environment, binary=str(binaries() / "pg_dump")))

    def written(self) -> list[str]:
        """The live schema as pg_dump writes it, but for its tokens and what a server keeps for itself."""
        lines = self.dump("sql").decode().splitlines()
        return [line for line in lines if not (line.startswith(("\\restrict", "\\unrestrict")) or "pg_attver=" in line)]

    def feed(self) -> Feed:
        environment = self.database.environment | {"PGUSER": "stowage_restore"}
        return Feed(ChildLogin(environment, ""), str(binaries() / "psql"), lambda: None)

    def load(
        self, script: Iterator[bytes], feed: Feed | None = None, before_commit: Callable[[], None] = lambda: None
    ) -> None:
        form = Form(keep_owners=True, keep_grants=True, keep_restrictions=False, schema=SCHEMA, needs=self.contents)
        with closing(feed or self.feed()) as fed:
            live = has_schema(self.restore, SCHEMA)
            load(fed, script, form, RUN, is_live=live, before_commit=before_commit, watch=lambda _: None)

    def script(self, dump_format: DumpFormat, size: int = 1 << 20) -> Iterator[bytes]:
        data = self.dumps[dump_format]
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        return chunks if dump_format == "sql" else plain(chunks, str(binaries() / "pg_restore"), lambda: None)

    def copies(self) -> list[str]:
        found = self.owner.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^stowage_[a-z]+_' ORDER BY 1")
        return [name for (name,) in found.fetchall()]


@pytest.fixture(scope="module")
def own() -> Iterator[Servers]:
    """Servers of this file alone: roles belong to a whole server."""
    with start_servers() as servers:
        yield servers


@pytest.fixture(scope="module")
def shops(own: Servers) -> Callable[[int], Shop]:
    made: dict[int, Shop] = {}

    def shop(version: int) -> Shop:
        if version not in made:
            made[version] = Shop(own(version))
        return made[version]

    return shop


@pytest.fixture
def shop(shops: Callable[[int], Shop]) -> Iterator[Shop]:
    shop = shops(NEWEST)
    yield shop
    for name in shop.copies():
        drop_schema(shop.owner, name)
    assert shop.written() == shop.lines


@pytest.mark.long(but="18")
@pytest.mark.parametrize("version", [OLDER, NEWEST])
def test_a_dump_of_any_format_comes_back_line_by_line(shops: Callable[[int], Shop], version: int) -> None:
    shop = shops(version)
    must_be_restorable(shop.restore, shop.contents)
    for dump_format in FORMATS:
        shop.load(shop.script(dump_format))
        assert shop.written() == shop.lines
        assert must_hold_rows(shop.restore, copy_of(RUN), shop.contents.rows) == shop.contents.row_count
        swap(shop.restore, Swap(SCHEMA, copy_of(RUN), kept_by(RUN), {}), lambda: None)
        assert shop.written() == shop.lines
        assert shop.copies() == [kept_by(RUN)]
        drop_schema(shop.restore, kept_by(RUN))


def _break(shop: Shop, how: str, at: int, size: int) -> None:
    """Begin to load, and let something happen before the chunk of that number."""
    feed = shop.feed()

    def script() -> Iterator[bytes]:
        for n, chunk in enumerate(shop.script("sql", size)):
            if n == at:
                match how:
                    case "psql killed":
                        os.kill(feed.process.pid, signal.SIGKILL)
                        feed.process.wait()
                    case "session ended":
                        while not shop.owner.execute(END_SESSION).fetchall():
                            time.sleep(0.01)
                    case "cut":
                        return
                    case "cut at a line's end":
                        yield chunk[: chunk.rfind(b"\n") + 1]
                        return
                    case "a byte more":
                        yield b"X"
                    case "raised":
                        raise RunError("The backup is damaged.", "backup_damaged")
            yield chunk

    shop.load(script(), feed)


@pytest.mark.parametrize("how", ["psql killed", "session ended", "cut", "cut at a line's end", "raised"])
def test_whatever_breaks_a_load_the_live_schema_is_as_it_was_and_no_rest_stays(shop: Shop, how: str) -> None:
    size = len(shop.dumps["sql"]) // 6
    for at in range(5):
        with pytest.raises(StowageError):
            _break(shop, how, at, size)
        assert shop.copies() == []
    assert shop.written() == shop.lines


def test_nothing_is_committed_where_the_end_of_the_artifact_was_wrong(shop: Shop) -> None:
    def damaged() -> None:
        raise RunError("The backup is damaged: its checksum is not the manifest's.", "backup_damaged")

    for dump_format in FORMATS:
        with pytest.raises(RunError, match="checksum"):
            shop.load(shop.script(dump_format), before_commit=damaged)
        cut = shop.dumps[dump_format][:-6000]
        chunks = iter([cut])
        script = chunks if dump_format == "sql" else plain(chunks, str(binaries() / "pg_restore"), lambda: None)
        if dump_format != "tar":  # a tar that is cut short makes pg_restore loop for a minute
            with pytest.raises(RunError) as caught:
                shop.load(script)
            assert caught.value.code == "backup_damaged"
    assert shop.copies() == []


def test_a_command_of_psql_in_a_dump_is_not_obeyed(shop: Shop) -> None:
    place = shop.dumps["sql"].index(b"\nSET ")
    for line in (b"\n\\! touch /tmp/stowage-was-here\n", b"\n\\unrestrict x\n\\! touch /tmp/stowage-was-here\n"):
        data = shop.dumps["sql"][:place] + line + shop.dumps["sql"][place:]
        with pytest.raises(RunError):
            shop.load(iter([data]))
    assert not Path("/tmp/stowage-was-here").exists()


def _changed(shop: Shop, **changes: Any) -> DumpContents:
    return shop.contents.model_copy(update=changes)


def test_what_cannot_be_restored_exactly_is_refused_with_names(shop: Shop) -> None:
    roles = shop.contents.roles
    extension = {"name": "no_such", "version": "1", "schema_name": "public"}
    table: list[tuple[dict[str, Any], str, str]] = [
        ({"server_version": "19.1"}, "server_older", "19.1"),
        ({"extensions": [{**extension}]}, "extensions_missing", "no_such"),
        ({"extensions": [{**extension, "schema_name": SCHEMA}]}, "extension_within", "no_such"),
        ({"roles": {**roles.model_dump(), "owners": ["Nobody"]}}, "roles_missing", "Nobody"),
        ({"roles": {**roles.model_dump(), "grantees": ["Nobody"]}}, "roles_missing", "Nobody"),
        ({"roles": {**roles.model_dump(), "policies": ["Nobody"]}}, "roles_missing", "Nobody"),
        ({"roles": {**roles.model_dump(), "grantors": ["shop"]}}, "foreign_grantors", "shop"),
        ({"roles": {**roles.model_dump(), "default_privileges": ["stowage_app"]}}, "not_configured", "stowage_app"),
    ]
    for changes, code, name in table:
        contents = DumpContents.model_validate({**shop.contents.model_dump(), **changes})
        with pytest.raises(RunError) as caught:
            must_be_restorable(shop.restore, contents)
        assert (caught.value.code, name in caught.value.message) == (code, True), caught.value.message


def test_what_hangs_on_the_schema_from_outside_is_named(shop: Shop) -> None:
    must_be_swappable(shop.restore, SCHEMA)
    shop.owner.execute("CREATE SCHEMA elsewhere")
    for statement, name in (
        ("CREATE TABLE elsewhere.notes (brand text REFERENCES tenant_zoo.brands)", "elsewhere.notes"),
        ("CREATE VIEW elsewhere.all_brands AS SELECT * FROM tenant_zoo.brands", "elsewhere.all_brands"),
        ("CREATE PUBLICATION of_tables FOR TABLE tenant_zoo.brands", "of_tables"),
        ("CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA tenant_zoo", "of_schema"),
        ("CREATE TABLE elsewhere.typed (mood tenant_zoo.accounts)", "elsewhere.typed"),
    ):
        shop.owner.execute("BEGIN; " + statement)
        try:
            with pytest.raises(RunError) as caught:
                must_be_swappable(shop.owner, SCHEMA)
            assert caught.value.code == "outside_dependents"
            assert name in caught.value.message
        finally:
            shop.owner.execute("ROLLBACK")
    shop.owner.execute("DROP SCHEMA elsewhere")


def test_a_writer_is_waited_for_and_then_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "PATIENCE_SECONDS", 0.2)
    shop.load(shop.script("sql"))
    given = Swap(SCHEMA, copy_of(RUN), kept_by(RUN), {})
    with closing(shop.database.connect(application_name="a writer")) as writer:
        writer.execute("BEGIN; UPDATE tenant_zoo.brands SET label = label || '!'")
        with pytest.raises(TransientRunError, match=r"brands of \d+ \(a writer\)"):
            swap(shop.restore, given, lambda: None)
        writer.execute("ROLLBACK")
    assert shop.copies() == [copy_of(RUN)]
    with closing(shop.database.connect(application_name="a reader")) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tenant_zoo.brands")
        wait_for_old_snapshots(shop.restore, copy_of(RUN), lambda: None)  # it sees the copy's rows
        shop.owner.execute("UPDATE tenant_zoo.brands SET label = label")
        drop_schema(shop.restore, copy_of(RUN))
        shop.load(shop.script("sql"))
        with pytest.raises(TransientRunError, match="a reader"):
            wait_for_old_snapshots(shop.restore, copy_of(RUN), lambda: None)


def test_a_statement_that_waits_for_the_swap_meets_the_new_rows(shop: Shop) -> None:
    shop.owner.execute("UPDATE tenant_zoo.brands SET label = 'live ' || id")
    shop.load(shop.script("sql"))
    seen: list[Any] = []
    with closing(shop.database.connect()) as app:
        query = "SELECT bool_or(label LIKE 'live %') FROM tenant_zoo.brands"
        waiting = threading.Thread(target=lambda: seen.append(app.execute(query).fetchone()))
        with shop.restore.transaction():
            swapping._swap(shop.restore, Swap(SCHEMA, copy_of(RUN), kept_by(RUN), {}))
            waiting.start()
            time.sleep(0.1)
            assert waiting.is_alive()
        waiting.join(10)
    assert seen == [(False,)]
