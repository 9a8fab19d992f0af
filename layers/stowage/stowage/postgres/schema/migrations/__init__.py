"""Migrations: numbered SQL files, forward only, applied once each and remembered with their checksums.

There are two families. `product` makes the schemas control_plane and stowage, as stowage_owner. `tenant` makes the
tables of the sample product in one tenant's schema, as the role that is logged in; a product with tables of its own
uses `register_tenant` instead and migrates them itself.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from stowage.basics.errors import StowageError
from stowage.tenants import schema_of

Family = Literal["product", "tenant"]

PRODUCT_SCHEMA = "stowage"
"""What `stowage.migrations` calls the target of the product's own family."""

_FOLDER = Path(__file__).parent
_ROLE_ATTEMPTS = 20
"""Roles belong to the whole server, and no lock that we may take does: two runs in two databases at once make one of
them fail with "tuple concurrently updated", after it has waited for the other."""

_EARLIER = re.compile(r"^-- earlier: ([0-9a-f]{64})$", re.MULTILINE)

_NOT_MIGRATED = "This database is not migrated yet: run `migrate` first."


class MigrationError(StowageError):
    """The database cannot be brought to where it should be; the message says what to do about it."""

    code = "migration_failed"


@dataclass(frozen=True)
class Migration:
    """One SQL file: `name` is `product/0002_journal`, `checksum` the SHA-256 of its text in hex.

    A line `-- earlier: CHECKSUM` names an earlier text of it: where that one was applied, this one counts as applied.
    """

    family: Family
    version: int
    name: str
    text: str
    checksum: str

    def is_applied_as(self, checksum: str) -> bool:
        """Whether a text of that checksum was this migration."""
        return checksum in (self.checksum, *_EARLIER.findall(self.text))

    @property
    def statements(self) -> bytes:
        """What is executed: in ASCII, because not every database's encoding holds the comments' other characters."""
        return self.text.encode("ascii", "replace")


@dataclass(frozen=True)
class MigrationState:
    """Where one migration stands in one schema; `pending` ones have no `applied_at`."""

    schema: str
    name: str
    state: Literal["applied", "pending", "edited", "unknown"]
    applied_at: str | None


def read_migrations(family: Family, folder: Path = _FOLDER) -> list[Migration]:
    """The migrations of that family, in order of their numbers; a `MigrationError` when two share one."""
    found: list[Migration] = []
    for path in sorted((folder / family).glob("[0-9]*.sql")):
        text = path.read_text(encoding="utf-8")
        version = int(path.stem.split("_")[0])
        if found and found[-1].version == version:
            raise MigrationError(f"Two migrations have the number {version}: {found[-1].name} and {path.stem}.")
        found.append(Migration(family, version, f"{family}/{path.stem}", text, _checksum(text)))
    return found


def apply_roles(connection: psycopg.Connection) -> None:
    """Make the roles of `roles.sql` and set what they may hold; again after each upgrade.

    The connection is the server's master: CREATEROLE, and owner of the database. `MigrationError` when it may not.
    """
    text = (_FOLDER.parent / "roles.sql").read_bytes()
    for attempt in range(1, _ROLE_ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute(text)
        except psycopg.errors.InsufficientPrivilege as error:
            raise MigrationError(_told(error, "Making the roles was refused")) from error
        except (psycopg.errors.InternalError_, psycopg.errors.DeadlockDetected):
            if attempt == _ROLE_ATTEMPTS:
                raise
        else:
            return


def migrate(connection: psycopg.Connection, folder: Path = _FOLDER) -> list[str]:
    """Apply what is missing of the product's migrations, as stowage_owner; the names of those applied.

    Each runs in a transaction of its own, under one advisory lock, so two deployments at once apply each once. Raises
    `MigrationError` when the roles are missing, when one that was applied has been edited since, or when one fails.
    """
    with _as_owner(connection):
        _prepare(connection)
    return _apply(connection, PRODUCT_SCHEMA, read_migrations("product", folder))


def create_tenant(
    connection: psycopg.Connection, id: str, slug: str, name: str, fill: Callable[[], object] | None = None
) -> None:
    """Make `tenant_{slug}` with the sample product's tables, owned by the role that is logged in, and register it.

    `fill` may fill the tables: it is called once they are there, before their keys and indexes, with the schema as
    the search path. All or nothing, in one transaction. That role needs CREATE on the database and SET on
    stowage_owner: the owner of the database who ran `roles` has both. Raises `MigrationError` for an id or slug that
    is taken or not one (docs/api.md, Tenant).
    """
    schema = schema_of(slug)
    with connection.transaction():
        if not _is_prepared(connection):
            raise MigrationError(_NOT_MIGRATED)
        _create_schema(connection, schema)
        tables, *keys_and_indexes = read_migrations("tenant")
        _apply(connection, schema, [tables])
        if fill:
            fill()
        register_tenant(connection, id, slug, name)
        _apply(connection, schema, keys_and_indexes)
        grant_tenant(connection, schema)


def migrate_tenants(connection: psycopg.Connection, folder: Path = _FOLDER) -> list[str]:
    """Apply what is missing of the tenant family in every schema made by `create_tenant`; `schema: name` of each."""
    migrations = read_migrations("tenant", folder)
    schemas = _tenant_schemas(connection)
    return [f"{schema}: {name}" for schema in schemas for name in _apply(connection, schema, migrations)]


_REGISTER = "INSERT INTO control_plane.projects (id, slug, name, database, schema) VALUES (%s, %s, %s, %s, %s)"

_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"


def register_tenant(
    connection: psycopg.Connection,
    id: str,
    slug: str,
    name: str,
    database: str = "main",
    schema: str | None = None,
    *,
    schema_later: bool = False,
) -> None:
    """Register a schema of that server as a tenant, `tenant_{slug}` unless given; `grant_tenant`, by its owner, opens
    it to us.

    The role that is logged in may act as stowage_owner. Raises `MigrationError` for an id or slug that is taken or not
    one, and where the main database has no such schema, unless `schema_later`. Another server is not looked at.
    """
    its = schema or schema_of(slug)
    try:
        with _as_owner(connection):
            connection.execute(_REGISTER, (id, slug, name, database, None if its == schema_of(slug) else its))
            looked_for = database == "main" and not schema_later
            if looked_for and connection.execute(_HAS_SCHEMA, (its,)).fetchone() != (True,):
                raise MigrationError(
                    f"Nothing was registered: this database has no schema {its}. Make it first, register with "
                    "--schema-later, or name its server with --database."
                )
    except psycopg.errors.UniqueViolation as error:
        told = f"A tenant {id!r}, a slug {slug!r} or the schema {its!r} is registered already."
        raise MigrationError(told) from error
    except psycopg.errors.CheckViolation as error:
        raise MigrationError(
            f"{id!r} with the slug {slug!r} cannot be a tenant: ids match [A-Za-z0-9_-]{{1,100}}, "
            "slugs [a-z][a-z0-9_]{0,48}, the name is not empty, and the schema is neither Postgres's own nor Stowage's."
        ) from error


_CAN_GRANT = """
SELECT EXISTS (
    SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname = 'stowage' AND proname = 'grant_tenant' AND pronargs = 3
)
"""

_NO_TENANTS = (PRODUCT_SCHEMA, "control_plane", "information_schema")
_GRANT = "SELECT stowage.grant_tenant(%s, %s, %s)"


def grant_tenant(
    connection: psycopg.Connection, schema: str, *, read_only: bool = False, skip_others: bool = False
) -> list[str]:
    """Grant Stowage's roles what they need in that schema, for later tables of its owner too; as often as you like.

    The role that is logged in owns the schema. `read_only`: no more than backups need. Gives the tables, as
    `tenant_acme.notes (of somebody)`, that belong to roles of which it is no member: left out where `skip_others` says
    so, else a `MigrationError` names them and nothing is granted, as when there is no such schema or it is no tenant's.
    """
    try:
        with connection.transaction():
            if connection.execute(_CAN_GRANT).fetchone() != (True,):
                raise MigrationError(_NOT_MIGRATED)
            granted = connection.execute(_GRANT, (schema, read_only, skip_others)).fetchone()
            if schema in _NO_TENANTS or schema.startswith("pg_"):
                raise MigrationError(f"Nothing was granted: {schema} is no tenant's schema.")
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege) as error:
        told = _told(error, "Nothing was granted").replace("skip_others", "--skip-others")
        raise MigrationError(told) from error
    return list(granted[0]) if granted else []


_RECORDED = """
SELECT schema, version, name, checksum, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM stowage.migrations
ORDER BY schema <> 'stowage', schema, version
"""


def read_status(connection: psycopg.Connection, folder: Path = _FOLDER) -> list[MigrationState]:
    """Every migration of the product and of each schema made by `create_tenant`, and whether it is applied.

    `edited`: its file is not what was applied. `unknown`: applied by a newer version of Stowage.
    """
    with connection.transaction():
        prepared = _is_prepared(connection)
    recorded: dict[tuple[str, int], tuple[str, str, str]] = {}
    if prepared:
        with _as_owner(connection):
            rows = connection.execute(_RECORDED).fetchall()
        recorded = {(schema, version): (name, checksum, at) for schema, version, name, checksum, at in rows}
    schemas = list(dict.fromkeys([PRODUCT_SCHEMA, *(schema for schema, _ in recorded)]))
    return [
        state
        for schema in schemas
        for state in _states(
            schema,
            read_migrations("product" if schema == PRODUCT_SCHEMA else "tenant", folder),
            {version: row for (of, version), row in recorded.items() if of == schema},
        )
    ]


def _states(
    schema: str, migrations: list[Migration], recorded: dict[int, tuple[str, str, str]]
) -> Iterator[MigrationState]:
    for migration in migrations:
        name, checksum, at = recorded.pop(migration.version, (migration.name, None, None))
        if checksum is None:
            yield MigrationState(schema, name, "pending", None)
        else:
            yield MigrationState(schema, name, "applied" if migration.is_applied_as(checksum) else "edited", at)
    for name, _, at in recorded.values():
        yield MigrationState(schema, name, "unknown", at)


_PREPARE = """
CREATE SCHEMA IF NOT EXISTS stowage;
CREATE TABLE IF NOT EXISTS stowage.migrations (
    schema text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (schema, version)
)
"""


def _prepare(connection: psycopg.Connection) -> None:
    if _is_prepared(connection):
        return
    _lock(connection)
    connection.execute(_PREPARE)


# From the catalog, because asking for the name itself is refused to a role without usage of the schema.
_IS_PREPARED = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'stowage' AND tablename = 'migrations')"


def _is_prepared(connection: psycopg.Connection) -> bool:
    return connection.execute(_IS_PREPARED).fetchone() == (True,)


def _apply(connection: psycopg.Connection, schema: str, migrations: list[Migration]) -> list[str]:
    applied: list[str] = []
    for migration in migrations:
        try:
            with connection.transaction():
                if _apply_one(connection, schema, migration):
                    applied.append(migration.name)
        except psycopg.Error as error:
            raise MigrationError(_told(error, f"{migration.name} failed in {schema}")) from error
    return applied


_CHECKSUM = "SELECT checksum FROM stowage.migrations WHERE schema = %s AND version = %s"

_RECORD = "INSERT INTO stowage.migrations (schema, version, name, checksum) VALUES (%s, %s, %s, %s)"

_TENANT_SEARCH_PATH = sql.SQL("SET LOCAL search_path = {}")


def _apply_one(connection: psycopg.Connection, schema: str, migration: Migration) -> bool:
    with _as_owner(connection):
        _lock(connection)
        recorded = connection.execute(_CHECKSUM, (schema, migration.version)).fetchone()
    if recorded is not None:
        if not migration.is_applied_as(recorded[0]):
            raise MigrationError(
                f"{migration.name} was edited after it was applied to {schema}. "
                "Put it back as it was, and write the change as a new migration."
            )
        return False
    if migration.family == "tenant":
        connection.execute(_TENANT_SEARCH_PATH.format(sql.Identifier(schema)))
        connection.execute(migration.statements)
    else:
        with _as_owner(connection):
            connection.execute(migration.statements)
    with _as_owner(connection):
        connection.execute(_RECORD, (schema, migration.version, migration.name, migration.checksum))
    return True


_SET_ROLE = "SET LOCAL ROLE stowage_owner"

_RESET_ROLE = "SET LOCAL ROLE NONE"


@contextmanager
def _as_owner(connection: psycopg.Connection) -> Iterator[None]:
    """Act as stowage_owner within a transaction, and as the role that is logged in again after it."""
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute(_SET_ROLE)
        except (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedObject) as error:
            raise MigrationError("There is no role stowage_owner: run `roles` as the server's master first.") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise MigrationError(
                f"{connection.info.user} may not act as stowage_owner: log in as the role that ran `roles`, "
                f"or let that one GRANT stowage_owner TO {connection.info.user}."
            ) from error
        yield
        connection.execute(_RESET_ROLE)


_LOCK = """
SET LOCAL lock_timeout = '60s';
SELECT pg_advisory_xact_lock(hashtextextended('stowage.migrations', 0));
SET LOCAL lock_timeout = '10s'
"""


def _lock(connection: psycopg.Connection) -> None:
    """Wait for other migrations of this database; then wait for tables no longer than their users can bear."""
    connection.execute(_LOCK)


_CREATE_SCHEMA = sql.SQL("CREATE SCHEMA {}")


def _create_schema(connection: psycopg.Connection, schema: str) -> None:
    try:
        with connection.transaction():
            connection.execute(_CREATE_SCHEMA.format(sql.Identifier(schema)))
    except psycopg.errors.DuplicateSchema as error:
        raise MigrationError(f"There is a schema {schema} already.") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(_told(error, f"Making the schema {schema} was refused")) from error


_TENANT_SCHEMAS = """
SELECT DISTINCT schema
FROM stowage.migrations JOIN pg_namespace ON nspname = schema
WHERE schema <> 'stowage'
ORDER BY schema
"""


def _tenant_schemas(connection: psycopg.Connection) -> list[str]:
    with _as_owner(connection):
        return [row[0] for row in connection.execute(_TENANT_SCHEMAS)]


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _told(error: psycopg.Error, what: str) -> str:
    """The server's own words: they name tables and roles, and never a password."""
    said = [part for part in (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint) if part]
    return f"{what}: " + (" ".join(f"{part.rstrip('.')}." for part in said) or type(error).__name__)
