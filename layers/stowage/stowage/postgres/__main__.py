"""`python -m stowage.postgres`: the database's roles, migrations and grants, for whoever runs one."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from stowage.basics.errors import StowageError
from stowage.postgres.dumps.needs import Needs
from stowage.postgres.dumps.portable import Form, portable
from stowage.postgres.restores.rights import grant_restore
from stowage.postgres.schema.known_tenants import wait_until_known
from stowage.postgres.schema.migrations import (
    apply_roles,
    grant_tenant,
    migrate,
    migrate_tenants,
    read_status,
    register_tenant,
)
from stowage.postgres.schema.removal import describe, read_held, remove
from stowage.postgres.schema.soft_delete import (
    has_earlier_trash,
    moving_migration,
    read_unique_rules,
    soft_delete_migration,
)
from stowage.postgres.session.command_line import URL_HELP, connect_as
from stowage.tenants import schema_of
from stowage_entities import DECLARED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 when the database refused, 2 for a command that is none."""
    given = parser().parse_args(arguments)
    try:
        return _run(given)
    except StowageError as error:
        print(f"error: {error.message}", file=sys.stderr)
    except psycopg.OperationalError as error:
        print(f"error: the database did not answer: {str(error).strip()}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    except psycopg.errors.UndefinedTable as error:
        print(f"error: {error.diag.message_primary}: run `migrate` first.", file=sys.stderr)
    except psycopg.Error as error:
        print(f"error: {error.diag.message_primary or type(error).__name__}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="python -m stowage.postgres", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, needs_url: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.add_argument("--url", required=needs_url, help=URL_HELP)
        return added

    command("roles", "Make Stowage's roles and their limits, as the server's master.")
    migrating = command("migrate", "Apply the missing migrations of the schemas control_plane and stowage.")
    migrating.add_argument(
        "--tenants", action="store_true", help="then those of the sample product's tenant schemas, as their owner"
    )
    command("status", "Show which migrations are applied, pending, edited or unknown; 1 unless all are applied.")
    granting = command("grant", "Grant Stowage's roles what they need in a tenant's schema, as its owner.")
    granting.add_argument("schema", metavar="SCHEMA", help="for example tenant_acme")
    granting.add_argument("--read-only", action="store_true", help="no more than backups need")
    granting.add_argument(
        "--skip-others", action="store_true", help="leave out tables of other owners, instead of granting nothing"
    )
    granting.add_argument(
        "--restore", action="store_true", help="only what restores and trial restores need, as the server's master"
    )
    registering = command("register", "Register a schema as a tenant, in the main database, as its master.")
    registering.add_argument("id", metavar="ID", help="the tenant's id in the API")
    registering.add_argument("slug", metavar="SLUG", help="its schema is tenant_SLUG, unless --schema says another")
    registering.add_argument("--schema", help="the schema of its tables, under any name")
    registering.add_argument("name", metavar="NAME", help="what people call it")
    registering.add_argument(
        "--database", default="main", help="the server's name in the configuration (main); no other is looked at"
    )
    registering.add_argument("--schema-later", action="store_true", help="although there is no such schema yet")
    registering.add_argument(
        "--wait",
        metavar="API",
        help="wait until the API at this URL knows the tenant, by the token in STOWAGE_TOKEN, which may see it",
    )
    removing = command("remove", "Show what Stowage has added to a database, and remove it with --yes; as `roles`.")
    removing.add_argument("--yes", action="store_true", help="remove it; without it nothing is changed")
    trash = command("soft-delete", "Print the migration that gives a table of yours a trash.", needs_url=False)
    trash.add_argument(
        "table", metavar="TABLE", help="the table, or SCHEMA.TABLE; with --url its unique rules are read"
    )
    made = command(
        "portable", "Write a plain dump for other owners, without grants, for older servers.", needs_url=False
    )
    made.add_argument("file", metavar="FILE", nargs="?", default="-", help="the dump, gzipped or not; - or none: stdin")
    made.add_argument("--manifest", metavar="FILE", help="the backup's: makes the extensions and casts that it needs")
    owners = made.add_mutually_exclusive_group()
    owners.add_argument("--owner", metavar="NAME", help="whose everything becomes (whose restores it)")
    owners.add_argument("--keep-owners", action="store_true", help="as in the dump; the roles have to be there")
    made.add_argument("--keep-grants", action="store_true", help="as in the dump; the roles have to be there")
    made.add_argument(
        "--no-restrict", action="store_true", help="for a psql older than August 2025, which has no \\restrict"
    )
    return parser


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "soft-delete":
            return _soft_delete(given.table, given.url)
        case "portable":
            return _portable(given)
    with connect_as(given.url) as connection:
        match given.command:
            case "roles":
                apply_roles(connection)
                print("The roles are as roles.sql says.")
            case "migrate":
                applied = migrate(connection) + (migrate_tenants(connection) if given.tenants else [])
                print("\n".join(f"applied {name}" for name in applied) or "Nothing to apply.")
            case "grant" if given.restore:
                told = grant_restore(connection, given.schema)
                print("\n".join(f"{statement};" for statement in told) or "Nothing to grant.")
            case "grant":
                left = grant_tenant(connection, given.schema, read_only=given.read_only, skip_others=given.skip_others)
                print(f"Granted in {given.schema}.")
                if left:
                    print(f"Left out, because they belong to others: {', '.join(left)}.")
            case "register":
                return _register(connection, given)
            case "remove":
                _remove(connection, sure=given.yes)
            case "status":
                return _status(connection)
    return 0


def _register(connection: psycopg.Connection, given: argparse.Namespace) -> int:
    if given.wait and "STOWAGE_TOKEN" not in os.environ:
        raise StowageError("--wait needs a token in STOWAGE_TOKEN, of somebody who may see the tenant.")
    schema = given.schema or schema_of(given.slug)
    register_tenant(
        connection, given.id, given.slug, given.name, given.database, schema, schema_later=given.schema_later
    )
    print(f"Registered {given.id}. Next: `grant {shlex.quote(schema)}`, as the schema's owner.")
    if not given.wait:
        print("The API answers 404 for a new tenant for up to a minute; `register … --wait API` waits for it.")
        return 0
    print("Waiting for the API to know it, which takes up to a minute.")
    seconds = wait_until_known(given.wait, given.id, os.environ["STOWAGE_TOKEN"])
    print(f"The API knows {given.id} since {seconds:.0f} s.")
    return 0


def _remove(connection: psycopg.Connection, *, sure: bool) -> None:
    lines = [*describe(remove(connection) if sure else read_held(connection))]
    if not lines:
        print("There is nothing of Stowage's in this database.")
        return
    print("Removed:" if sure else "Stowage has added to this database:")
    print("\n".join(f"  {line}" for line in lines))
    print("Your schemas, tables and rows are as they were." if sure else "Nothing was removed; --yes removes it.")


def _status(connection: psycopg.Connection) -> int:
    states = read_status(connection)
    for state in states:
        print(f"{state.state:8}  {state.applied_at or '-':20}  {state.schema}: {state.name}")
    return 0 if all(state.state == "applied" for state in states) else 1


def _soft_delete(given: str, url: str | None) -> int:
    schema, _, table = given.rpartition(".")
    key = next((literal["key"][0][0] for literal in DECLARED.values() if literal["table"] == table), "id")
    if url is None:
        print(soft_delete_migration(table, schema or None, key=key), end="")
        return 0
    if not schema:
        raise StowageError("With --url the table needs its schema: SCHEMA.TABLE.")
    with connect_as(url) as connection:
        if has_earlier_trash(connection, schema, table):
            print(moving_migration(schema, table), end="")
            return 0
        rules = read_unique_rules(connection, schema, table)
    if rules is None:
        raise StowageError(f"There is no table {given}.")
    print(soft_delete_migration(table, schema, rules, key=key), end="")
    return 0


def _portable(given: argparse.Namespace) -> int:
    contents = _contents(Path(given.manifest)) if given.manifest else {}
    form = Form(
        owner=given.owner,
        keep_owners=given.keep_owners,
        keep_grants=given.keep_grants,
        keep_restrictions=not given.no_restrict,
        schema=contents.get("schema_name", ""),
        needs=Needs.model_validate(contents),
    )
    with open(sys.stdin.fileno() if given.file == "-" else given.file, "rb") as file:
        for piece in portable(file, form):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0


def _contents(manifest: Path) -> dict[str, Any]:
    """What a manifest says of its dump: the file itself, or the answer of `GET /api/backup/{id}` that holds it."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        for name in ("data", "manifest"):
            found = found.get(name, found)
        return dict(found["contents"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StowageError(f"{manifest} is no manifest of a backup.") from error


if __name__ == "__main__":
    sys.exit(main())
