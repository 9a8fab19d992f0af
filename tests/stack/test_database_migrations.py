"""Roles and migrations: once each, in order, by an owner who is no superuser."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from stowage.entities.declared import ENTITIES
from stowage.postgres.__main__ import main
from stowage.postgres.schema import migrations
from stowage.postgres.schema.migrations import (
    MigrationError,
    apply_roles,
    create_tenant,
    migrate,
    migrate_tenants,
    read_migrations,
    read_status,
)
from stowage.postgres.schema.registry import TenantRow, read_tenant, read_tenants
from tests.stack.scratch_databases import bare_database, connect, migrated_database, server_url

PRODUCT = [migration.name for migration in read_migrations("product")]


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Iterator[str]:
    with bare_database(server_url(request)) as url:
        with connect(url) as connection:
            apply_roles(connection)
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with migrated_database(server_url(request)) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may change."""
    copied = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, copied, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return copied


def test_the_owner_of_the_tests_is_no_superuser(database: str) -> None:
    with connect(database) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False,)


def test_migrating_again_applies_nothing(bare: str) -> None:
    with connect(bare) as connection:
        assert migrate(connection) == PRODUCT
        assert migrate(connection) == []


def test_the_roles_can_be_applied_again_to_a_migrated_database(database: str) -> None:
    with connect(database) as connection:
        apply_roles(connection)
        assert migrate(connection) == []


def test_two_deployments_at_once_apply_each_migration_once(bare: str) -> None:
    def deploy(_: int) -> list[str]:
        with connect(bare) as connection:
            return migrate(connection)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(deploy, range(4)) for name in names]
    assert sorted(applied) == PRODUCT


def test_roles_applied_in_two_databases_at_once_do_not_collide(request: pytest.FixtureRequest, bare: str) -> None:
    def apply(url: str) -> None:
        with connect(url) as connection:
            for _ in range(5):
                apply_roles(connection)

    with bare_database(server_url(request)) as other, ThreadPoolExecutor(3) as pool:
        for applied in [pool.submit(apply, url) for url in (bare, other, bare)]:
            applied.result()


def test_stowage_owner_can_migrate_without_the_master(bare: str) -> None:
    with connect(bare, "stowage_owner") as connection:
        assert migrate(connection) == PRODUCT


def test_both_schemas_belong_to_stowage_owner(database: str) -> None:
    with connect(database) as connection:
        owners = connection.execute(
            "SELECT nspname, nspowner::regrole::text FROM pg_namespace WHERE nspname IN ('stowage', 'control_plane')"
        ).fetchall()
    assert sorted(owners) == [("control_plane", "stowage_owner"), ("stowage", "stowage_owner")]


def test_an_edited_migration_is_refused_and_named(database: str, folder: Path) -> None:
    edited = folder / "product" / "0002_journal.sql"
    edited.write_text(edited.read_text() + "-- harmless\n")
    with connect(database) as connection:
        with pytest.raises(MigrationError, match="product/0002_journal was edited"):
            migrate(connection, folder)
        states = {state.name: state.state for state in read_status(connection, folder)}
    assert states == dict.fromkeys(PRODUCT, "applied") | {"product/0002_journal": "edited"}


def test_a_migration_counts_as_applied_where_an_earlier_text_of_it_was(database: str, folder: Path) -> None:
    split = folder / "product" / "0026_trash_spans.sql"
    split.write_text(f"{split.read_text()}-- earlier: {'0' * 64}\n")
    with connect(database, "stowage_owner") as connection:
        connection.execute("UPDATE stowage.migrations SET checksum = repeat('0', 64) WHERE version = 26")
        assert migrate(connection, folder) == []
        assert {state.state for state in read_status(connection, folder)} == {"applied"}


_LOCKED = "SELECT mode FROM pg_locks WHERE relation = 'stowage.trash_entries'::regclass AND pid = pg_backend_pid()"
_READ = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables WHERE relname = 'trash_entries'"


def test_an_upgrade_of_the_trash_never_reads_the_entries_while_nobody_else_may(database: str) -> None:
    with connect(database, "stowage_owner") as connection:
        connection.execute("ALTER TABLE stowage.trash_entries DROP COLUMN of_flag; DROP TABLE stowage.trash_spans")
        for version, lock, reads in (
            (26, "AccessExclusiveLock", False),
            (27, "ShareLock", True),
            (28, "RowExclusiveLock", True),
        ):
            [migration] = [each for each in read_migrations("product") if each.version == version]
            with connection.transaction():
                connection.execute(migration.statements)
                held = {mode for (mode,) in connection.execute(_LOCKED)}
                assert held - {"AccessShareLock"} == {lock}, version
                assert (connection.execute(_READ).fetchone() != (0,)) is reads, version


def test_a_failing_migration_leaves_nothing_and_keeps_those_before_it(database: str, folder: Path) -> None:
    (folder / "product" / "0901_good.sql").write_text("CREATE TABLE stowage.good ();")
    broken = folder / "product" / "0902_broken.sql"
    broken.write_text("CREATE TABLE stowage.half ();\nSELECT 1/0;")
    with connect(database) as connection:
        with pytest.raises(MigrationError, match="product/0902_broken failed in stowage: division by zero"):
            migrate(connection, folder)
        found = connection.execute(
            "SELECT to_regclass('stowage.good') IS NOT NULL, to_regclass('stowage.half')"
        ).fetchone()
        assert found == (True, None)
        broken.write_text("CREATE TABLE stowage.half ();")
        assert migrate(connection, folder) == ["product/0902_broken"]


def test_two_migrations_of_one_number_are_refused_before_anything_runs(bare: str, folder: Path) -> None:
    (folder / "product" / "0002_again.sql").write_text("SELECT 1;")
    with connect(bare) as connection, pytest.raises(MigrationError, match="have the number 2"):
        migrate(connection, folder)


def test_a_migration_of_a_newer_version_is_shown_and_not_touched(database: str, folder: Path) -> None:
    (folder / "product" / "0901_newer.sql").write_text("SELECT 1;")
    with connect(database) as connection:
        assert migrate(connection, folder) == ["product/0901_newer"]
        assert migrate(connection) == []
        assert [state.name for state in read_status(connection) if state.state == "unknown"] == ["product/0901_newer"]


def test_a_role_that_may_not_migrate_is_told_so(bare: str) -> None:
    with (
        connect(bare, "stowage_app") as connection,
        pytest.raises(MigrationError, match="may not act as stowage_owner"),
    ):
        migrate(connection)


def test_a_role_that_may_not_make_roles_is_told_so(bare: str) -> None:
    with connect(bare, "stowage_app") as connection, pytest.raises(MigrationError, match="may not administer it"):
        apply_roles(connection)


def test_the_columns_of_a_tenant_are_those_of_the_declared_entities(database: str) -> None:
    with connect(database) as connection:
        create_tenant(connection, "one", "one", "One")
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'tenant_one'"
        ).fetchall()
    kinds = {
        "text": "text",
        "integer": "bigint",
        "number": "double precision",
        "boolean": "boolean",
        "timestamp": "timestamp with time zone",
    }
    trash = {("deleted_at", "timestamp with time zone")}
    found = {table: {(column, kind) for of, column, kind in rows if of == table} for table, _, _ in rows}
    declared = {
        entity.table: {(field.column, kinds[field.type]) for field in entity.fields} | trash
        for entity in ENTITIES.values()
    }
    assert found == declared


def test_a_tenant_is_registered_and_owned_by_the_login(database: str) -> None:
    with connect(database) as connection:
        create_tenant(connection, "Acme-1", "acme", "Acme")
        create_tenant(connection, "b", "b", "B")
        owner = connection.execute(
            "SELECT tableowner, current_user FROM pg_tables WHERE schemaname = 'tenant_acme' AND tablename = 'posts'"
        ).fetchone()
    assert owner is not None
    assert owner[0] == owner[1]
    with connect(database, "stowage_app") as connection:
        acme = TenantRow("Acme-1", "acme", "Acme", "main")
        assert read_tenants(connection) == [acme, TenantRow("b", "b", "B", "main")]
        assert read_tenant(connection, "Acme-1") == acme
        assert read_tenant(connection, "acme") is None


def test_an_archived_tenant_is_not_read(database: str) -> None:
    with connect(database) as connection:
        create_tenant(connection, "acme", "acme", "Acme")
    with connect(database, "stowage_owner") as connection:
        connection.execute("UPDATE control_plane.projects SET archived_at = now()")
        assert read_tenants(connection) == []
        assert read_tenant(connection, "acme") is None


@pytest.mark.parametrize(
    ("id", "slug", "name"),
    [
        ("a/b", "fine", "Fine"),
        ("", "fine", "Fine"),
        ("a" * 101, "fine", "Fine"),
        ("fine\n", "fine", "Fine"),
        ("fine", "Fine", "Fine"),
        ("fine", "1fine", "Fine"),
        ("fine", "fine\n", "Fine"),
        ("fine", "a" * 50, "Fine"),
        ("fine", 'a"; DROP SCHEMA stowage; --', "Fine"),
        ("fine", "fine", ""),
    ],
)
def test_what_cannot_be_a_tenant_leaves_nothing_behind(database: str, id: str, slug: str, name: str) -> None:
    with connect(database) as connection:
        with pytest.raises(MigrationError, match="cannot be a tenant"):
            create_tenant(connection, id, slug, name)
        left = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant%'").fetchone()
    assert left == (0,)


def test_a_taken_id_or_slug_or_schema_is_refused(database: str) -> None:
    with connect(database) as connection:
        create_tenant(connection, "acme", "acme", "Acme")
        connection.execute("CREATE SCHEMA tenant_mine")
        with pytest.raises(MigrationError, match="registered already"):
            create_tenant(connection, "acme", "other", "Other")
        with pytest.raises(MigrationError, match="There is a schema tenant_acme already"):
            create_tenant(connection, "other", "acme", "Other")
        with pytest.raises(MigrationError, match="There is a schema tenant_mine already"):
            create_tenant(connection, "mine", "mine", "Mine")
        assert connection.execute("SELECT to_regnamespace('tenant_other')").fetchone() == (None,)


def test_a_tenant_before_the_migrations_is_told_what_to_run(bare: str) -> None:
    with connect(bare) as connection, pytest.raises(MigrationError, match="run `migrate` first"):
        create_tenant(connection, "acme", "acme", "Acme")


def test_a_later_tenant_migration_reaches_every_tenant_once(database: str, folder: Path) -> None:
    with connect(database) as connection:
        create_tenant(connection, "a", "a", "A")
        create_tenant(connection, "b", "b", "B")
        (folder / "tenant" / "0901_colour.sql").write_text("ALTER TABLE brands ADD colour text;")
        expected = ["tenant_a: tenant/0901_colour", "tenant_b: tenant/0901_colour"]
        assert migrate_tenants(connection, folder) == expected
        assert migrate_tenants(connection, folder) == []
        connection.execute("SELECT a.colour, b.colour FROM tenant_a.brands AS a, tenant_b.brands AS b")


def test_the_commands_prepare_a_database(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    with bare_database(server_url(request)) as url:
        assert main(["roles", "--url", url]) == 0
        assert main(["status", "--url", url]) == 1
        assert main(["migrate", "--url", url]) == 0
        assert main(["status", "--url", url]) == 0
        with connect(url) as connection:
            connection.execute("CREATE SCHEMA tenant_mine; CREATE TABLE tenant_mine.orders (id text)")
        assert main(["register", "m-1", "mine", "My shop", "--url", url]) == 0
        assert main(["grant", "tenant_mine", "--url", url]) == 0
        printed = capsys.readouterr().out
        with connect(url, "stowage_app") as connection:
            assert read_tenants(connection) == [TenantRow("m-1", "mine", "My shop", "main")]
            connection.execute("INSERT INTO tenant_mine.orders VALUES ('1')")
    assert "applied product/0001_registry\n" in printed
    assert "pending   -                     stowage: product/0001_registry\n" in printed


def test_a_command_that_fails_says_why_and_no_more(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grant", "tenant_nobody", "--url", database]) == 1
    assert capsys.readouterr().err == "error: Nothing was granted: there is no schema tenant_nobody.\n"
    unreachable = make_conninfo(database, dbname="no_such_database", password="very-secret")
    assert main(["migrate", "--url", unreachable]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: the database did not answer: ")
    assert "very-secret" not in told


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("roles", "migrate", "status", "grant", "register", "soft-delete"))


def test_soft_delete_prints_a_migration_that_works_on_an_adopters_table(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(database) as connection:
        connection.execute("""
            CREATE SCHEMA tenant_mine;
            CREATE TABLE tenant_mine."My Orders" (
                id text PRIMARY KEY, "No." integer UNIQUE, shop text, code text, "by" text UNIQUE, n integer
            );
            CREATE UNIQUE INDEX by_shop ON tenant_mine."My Orders" (shop, code) INCLUDE (n);
            CREATE TABLE tenant_mine.lines ("by" text REFERENCES tenant_mine."My Orders" ("by"));
            INSERT INTO tenant_mine."My Orders" VALUES ('1', 1, 'a', 'x', 'me', 1);
        """)
        assert main(["soft-delete", "tenant_mine.My Orders", "--url", database]) == 0
        printed = capsys.readouterr().out
        connection.execute(printed.encode())
        connection.execute("""
            UPDATE tenant_mine."My Orders" SET deleted_at = now();
            INSERT INTO tenant_mine."My Orders" VALUES ('2', 1, 'a', 'x', 'you', 1);
        """)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("""INSERT INTO tenant_mine."My Orders" VALUES ('3', 1, 'b', 'x', 'him', 1)""")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("""INSERT INTO tenant_mine."My Orders" VALUES ('3', 3, 'a', 'x', 'him', 1)""")
    assert "foreign keys refer to it" in printed


def test_soft_delete_moves_what_an_earlier_version_kept_in_the_rows(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(database) as connection:
        connection.execute("""
            CREATE SCHEMA "The Shop";
            CREATE TABLE "The Shop".orders (
                id bigint PRIMARY KEY, deleted_at timestamptz, deleted_by text, purge_at timestamptz,
                deleted_operation text, deleted_with text, CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
            );
            INSERT INTO "The Shop".orders VALUES (1, now(), 'ada', now() + interval '30 days', 'op_1', '7');
            INSERT INTO "The Shop".orders (id) VALUES (2);
        """)
        assert main(["soft-delete", "The Shop.orders", "--url", database]) == 0
        printed = capsys.readouterr().out.encode()
        with pytest.raises(psycopg.errors.InvalidSchemaName, match="no tenant is registered with the schema"):
            connection.execute(printed)
        connection.execute(
            "INSERT INTO control_plane.projects (id, slug, name, schema) VALUES ('s', 's', 'S', 'The Shop')"
        )
        connection.execute(printed)
        assert connection.execute("""
            SELECT tenant, entity, id, mark = deleted_at, purge_at > mark, deleted_by, deleted_operation, deleted_with
            FROM stowage.trash_entries
        """).fetchall() == [("s", "orders", "1", True, True, "ada", "op_1", "7")]
        connection.execute('UPDATE "The Shop".orders SET deleted_at = now() WHERE id = 2')
        assert len(connection.execute('SELECT * FROM "The Shop".orders').fetchall()[0]) == 2


def test_soft_delete_without_a_database_is_runnable_sql(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(database) as connection:
        connection.execute("CREATE SCHEMA tenant_mine; CREATE TABLE tenant_mine.orders (id text)")
        assert main(["soft-delete", "orders"]) == 0
        connection.execute(b"SET search_path = tenant_mine;" + capsys.readouterr().out.encode())
        connection.execute("SELECT deleted_at FROM tenant_mine.orders")
    assert main(["soft-delete", "tenant_mine.nothing", "--url", database]) == 1
    assert main(["soft-delete", "orders", "--url", database]) == 1
