"""The commands of docs/restore.md and README restore a backup, as they stand there, on an older
server and the newest.
"""

import gzip
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.postgres import binaries
from tests.stack.dump_surface import ROOT, Database
from tests.stack.restoring import ENDINGS, FORMATS, STEM, Backups, back_up, commands, of_format
from tests.stack.servers import NEWEST, OLDER, OLDER_PROGRAMS, Server, Servers

SCHEMA = "tenant_odd"
ROLES = {"owner": "shop_owner", "reader": '"Shops reader"', "granted": "shop_granted"}
ANYWHERE = "## 2. Anywhere: owned by whoever restores it"
WITH_OWNERS = "## 3. With its owners and grants"


FORMATS_OF_SERVERS = pytest.mark.parametrize(
    ("version", "name"),
    [(OLDER, "sql"), (OLDER, "custom"), (NEWEST, "sql"), (NEWEST, "tar")],
    indirect=["version"],
)
"""Each server with a plain dump and with an archive: the newest pg_restore turns both kinds into the same text."""
ON_THE_NEWEST = pytest.mark.parametrize("version", [NEWEST], indirect=True)
"""For our own program, which knows of no server."""


@pytest.fixture(params=[OLDER, NEWEST])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def backups_of(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Backups]:
    """Backups of the odd tenant on a server of that version, made once."""

    @cache
    def make(version: int) -> Backups:
        database = servers(version).make_database()
        connection = database.connect()
        for role in ROLES.values():
            connection.execute(f"CREATE ROLE {role}".encode())
        odd = (Path(__file__).with_name("odd_tenant.sql")).read_text()
        for name, role in ROLES.items():
            odd = odd.replace(f"{{{name}}}", role)
        connection.execute(odd.encode())
        folder = tmp_path_factory.mktemp(f"backups-{version}")
        return Backups(folder, database, back_up(database, SCHEMA, folder))

    return make


@pytest.fixture
def backups(backups_of: Callable[[int], Backups], version: int) -> Backups:
    return backups_of(version)


@pytest.fixture(scope="module")
def fresh_of(servers: Servers) -> Iterator[Callable[[int], Server]]:
    """A server of that version on which nobody has made anything, but for a role that may log in."""
    started: list[Server] = []

    @cache
    def start(version: int) -> Server:
        servers(version)  # tells what is missing
        started.append(Server(OLDER_PROGRAMS if version == OLDER else binaries()))
        with psycopg.connect(started[-1].url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE somebody LOGIN")
        return started[-1]

    yield start
    for server in started:
        server.remove()


@pytest.fixture
def fresh(fresh_of: Callable[[int], Server], version: int) -> Server:
    return fresh_of(version)


type Target = Callable[..., tuple[Database, str]]


@pytest.fixture
def target(fresh: Server) -> Target:
    """`target("somebody")` is a new database that this role owns, and its URL."""

    def make(owner: str | None = None) -> tuple[Database, str]:
        database = fresh.make_database(owner=owner)
        return database, fresh.url(owner or "postgres", str(database.environment["PGDATABASE"]))

    return make


def rows_of(database: Database) -> Any:
    """What is in the odd tenant, called and computed too."""
    connection = database.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return [
        connection.execute(query).fetchall()
        for query in (
            b"SELECT n::text FROM tenant_odd.notes AS n ORDER BY id",
            b"SELECT * FROM tenant_odd.loud_notes ORDER BY id",
            b"SELECT tenant_odd.looks_like_a_dump(), tenant_odd.atomic(2)",
            b'SELECT tenant_odd."name; Type: TABLE DATA; Schema: tenant_other; Owner: x"()',
            b"SELECT 'loud'::tenant_odd.mood + 1, (1, 'x')::tenant_odd.money_of || 'y'",
            b"SELECT last_value FROM tenant_odd.notes_id_seq",
        )
    ]


def definition_of(database: Database, *options: str) -> list[str]:
    """The schema as pg_dump describes it, without what is another one in each dump or database: Postgres
    15.20 gives some columns an option `pg_attver` with a number that it chooses anew in each database.
    """
    newest = Database(database.url, binaries())
    lines = newest.run("pg_dump", "--schema-only", "-n", SCHEMA, *options).decode().splitlines()
    others = ("\\restrict", "\\unrestrict", "-- Dumped")
    return [line for line in lines if not line.startswith(others) and "SET (pg_attver=" not in line]


@FORMATS_OF_SERVERS
def test_a_backup_is_restored_where_nothing_of_it_is_known(
    backups: Backups, fresh: Server, target: Target, name: str
) -> None:
    database, url = target("somebody")

    backups.run(of_format(commands("docs/restore.md", ANYWHERE), name), fresh, url)

    assert rows_of(database) == rows_of(backups.origin)
    without_roles = ("--no-owner", "--no-acl")
    assert definition_of(database, *without_roles) == definition_of(backups.origin, *without_roles)
    owners = database.connect().execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'tenant_odd'")
    assert owners.fetchall() == [("somebody",)]


@pytest.mark.long(but="18")
def test_readmes_command_does_the_same(backups: Backups, fresh: Server, target: Target) -> None:
    database, url = target("somebody")
    [export, command] = commands("README.md", "## Restore a backup")
    assert export == "export TARGET=postgresql://USER@HOST:5432/DATABASE"

    backups.run(command, fresh, url)

    assert rows_of(database) == rows_of(backups.origin)


@ON_THE_NEWEST
def test_the_file_is_checked_against_its_manifest(backups: Backups, fresh: Server) -> None:
    [command] = commands("docs/restore.md", "## 1. Fetch both, and check the file")
    for name in FORMATS:
        checked = command.replace("manifest.json", f"manifest-{name}.json")
        assert backups.attempt(checked, fresh, "").returncode == 0
    file = backups.folder / f"{STEM}.sql.gz"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-1])
        assert backups.attempt(command.replace("manifest.json", "manifest-sql.json"), fresh, "").returncode == 1
    finally:
        file.write_bytes(whole)


@pytest.fixture
def with_roles(backups: Backups, fresh: Server, target: Target) -> Iterator[tuple[Database, str]]:
    """A database where the document's command has made the manifest's roles; they are gone again after the test."""
    database, url = target()
    make_roles = commands("docs/restore.md", WITH_OWNERS)[0]
    done = backups.attempt(make_roles, fresh, url)
    assert done.returncode == 0
    assert re.findall(r"ERROR: +(.*)", done.stderr) == ['role "postgres" already exists']
    yield database, url
    connection = database.connect()
    for role in ROLES.values():
        connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


@pytest.mark.long(but=["15-custom", "18-sql"])
@FORMATS_OF_SERVERS
def test_a_backup_is_restored_with_its_owners_and_grants(
    backups: Backups, fresh: Server, with_roles: tuple[Database, str], name: str
) -> None:
    database, url = with_roles
    command = of_format(commands("docs/restore.md", WITH_OWNERS), name)
    # It names casts, so the document says to put `portable` in the place of `sed`, and the dump needs a search path.
    options = "--keep-owners --keep-grants --manifest manifest.json"
    assert options in (ROOT / "docs/restore.md").read_text()
    command = re.sub(r"\| sed '[^']*'", f"| .venv/bin/python -m stowage.postgres portable {options}", command)

    backups.run(command, fresh, url)

    assert rows_of(database) == rows_of(backups.origin)
    assert definition_of(database) == definition_of(backups.origin)


@pytest.mark.long(but=["15-sql", "18-tar"])
@FORMATS_OF_SERVERS
def test_postgres_own_programs_suffice_where_the_manifest_names_no_more_than_roles(
    servers: Servers, fresh: Server, version: int, target: Target, tmp_path: Path, name: str
) -> None:
    origin = servers(version).make_database()
    origin.connect().execute("""
        CREATE SCHEMA tenant_odd;
        CREATE TABLE tenant_odd.notes (id int PRIMARY KEY, body text);
        INSERT INTO tenant_odd.notes VALUES (1, E'\\nSET transaction_timeout = 0;\\n');
    """)
    contents = back_up(origin, SCHEMA, tmp_path)
    assert (contents["casts"], contents["extensions"], contents["search_path_traps"]) == ([], [], [])
    database, url = target()

    backups = Backups(tmp_path, origin, contents)
    backups.run(of_format(commands("docs/restore.md", WITH_OWNERS), name), fresh, url)

    query = b"SELECT * FROM tenant_odd.notes"
    assert database.connect().execute(query).fetchall() == origin.connect().execute(query).fetchall()
    assert definition_of(database) == definition_of(origin)


@pytest.mark.long(but="18")
def test_everything_becomes_the_owners_that_is_named(backups: Backups, fresh: Server, target: Target) -> None:
    database, url = target("somebody")
    with psycopg.connect(fresh.url(), autocommit=True) as connection:
        connection.execute('CREATE ROLE "New ""owner"; GRANT "New ""owner" TO somebody')
    command = commands("README.md", "## Restore a backup")[1]

    backups.run(command.replace(" --manifest", " --owner 'New \"owner' --manifest"), fresh, url)

    owners = database.connect().execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'tenant_odd'")
    assert owners.fetchall() == [('New "owner',)]
    assert rows_of(database) == rows_of(backups.origin)


@pytest.mark.long(but="15")
def test_a_psql_that_knows_no_restriction_gets_none(backups: Backups, fresh: Server, target: Target) -> None:
    _, url = target("somebody")
    command = commands("README.md", "## Restore a backup")[1].replace(" --manifest", " --no-restrict --manifest")
    written = backups.attempt(command.partition(" | psql")[0], fresh, url)

    assert not re.search(r"^\\(un)?restrict", written.stdout, re.M)
    backups.run(command, fresh, url)


@pytest.mark.long(but=["15-0.999-False", "18-0.5-True"])
@pytest.mark.parametrize(
    ("version", "part", "is_packed"),
    [
        (OLDER, 0.999, False),
        (NEWEST, 0.1, False),
        (NEWEST, 0.5, True),
        (NEWEST, 0.9, False),
        (NEWEST, 0.999, False),
        (NEWEST, 0.999, True),
    ],
    indirect=["version"],
)
def test_a_file_that_was_cut_off_restores_nothing(
    backups: Backups, fresh: Server, target: Target, part: float, is_packed: bool
) -> None:
    database, url = target("somebody")
    text = gzip.decompress((backups.folder / f"{STEM}.sql.gz").read_bytes())
    text = gzip.compress(text) if is_packed else text
    (backups.folder / "cut").write_bytes(text[: int(len(text) * part)])
    command = commands("README.md", "## Restore a backup")[1]
    done = backups.attempt(command.replace(f"{STEM}.sql.gz", "cut"), fresh, url)

    assert done.returncode != 0
    assert "not whole" in done.stderr
    assert database.connect().execute("SELECT FROM pg_namespace WHERE nspname = 'tenant_odd'").fetchall() == []


@ON_THE_NEWEST
def test_an_archive_is_not_taken_for_a_plain_dump(backups: Backups, fresh: Server) -> None:
    for name in ("custom", "tar"):
        done = backups.attempt(
            f".venv/bin/python -m stowage.postgres portable {STEM}.{ENDINGS[name]} >/dev/null", fresh, ""
        )
        assert done.returncode == 1
        assert "pg_restore -f -" in done.stderr


@ON_THE_NEWEST
def test_what_is_left_out_is_what_pg_restore_leaves_out(backups: Backups, fresh: Server) -> None:
    """But for comments and blank lines, and for two settings."""
    archive = backups.attempt(f"gunzip -c {STEM}.dump.gz | pg_restore -O -x --no-tablespaces -f -", fresh, "")
    plain = backups.attempt(f".venv/bin/python -m stowage.postgres portable {STEM}.sql.gz", fresh, "")

    def lines(text: str) -> list[str]:
        left = ("--", "\\restrict", "\\unrestrict", "SET transaction_timeout", "SET default_tablespace")
        return [line for line in text.splitlines() if line and not line.startswith(left)]

    assert lines(plain.stdout) == lines(archive.stdout)


def test_what_the_manifest_needs_is_there(backups: Backups) -> None:
    contents = backups.contents
    assert contents["roles"] == {
        "owners": ["postgres", "shop_owner"],
        "grantees": ["Shops reader", "shop_granted"],
        "grantors": ["Shops reader"],
        "default_privileges": ["shop_owner"],
        "policies": [],
    }
    assert [cast["statement"] for cast in contents["casts"]] == [
        "CREATE CAST (tenant_odd.money_of AS text) WITH INOUT AS ASSIGNMENT;",
        "CREATE CAST (tenant_odd.mood AS integer) WITH FUNCTION tenant_odd.loudness(tenant_odd.mood) AS IMPLICIT;",
    ]
    [trap] = contents["search_path_traps"]
    assert (trap["function"], trap["names"]) == ("tenant_odd.is_slug(text)", ["folded"])
    assert contents["encoding"] == "UTF8"
    assert contents["time_zone"] == "UTC"
