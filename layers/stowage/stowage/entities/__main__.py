"""`python -m stowage.entities`: the declarations of your tables, written, built and compared with the database."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from stowage.basics.errors import StowageError
from stowage.entities.building import build
from stowage.entities.checking import Finding, check, wanted_columns
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import DeclarationError
from stowage.postgres.schema.catalogue import read_tables
from stowage.postgres.schema.registry import read_tenants
from stowage.postgres.session.command_line import URL_HELP, connected
from stowage.postgres.tables.shapes import has_roles, read_shapes
from stowage.postgres.tables.shared import check_shared
from stowage.postgres.tables.unreadable import check_backups
from stowage_entities import DECLARED

_NAMED = 5
"""How many tenants a line names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 when something is not as it must be, 2 for a command that is none."""
    given = parser().parse_args(arguments)
    try:
        return _run(given)
    except DeclarationError as error:
        for mistake in error.mistakes:
            print(mistake, file=sys.stderr)
    except StowageError as error:
        print(f"error: {error.message}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="python -m stowage.entities", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    told = "Compile the declarations of a folder (its *.toml) into the module that functions load."
    building = commands.add_parser("build", help=told, description=told)
    building.add_argument(
        "folder", nargs="?", type=Path, default=Path("layers/entities"), help="layers/entities unless given"
    )
    building.add_argument("--to", type=Path, help="the package's folder; FOLDER/stowage_entities unless given")
    told = "Print declarations of the tables of a schema, with comments on what is guessed."
    inspecting = commands.add_parser("inspect", help=told, description=told)
    inspecting.add_argument("--url", required=True, help=URL_HELP)
    inspecting.add_argument("--schema", required=True, help="the schema of one tenant")
    told = "Compare the declarations with the tables of every tenant; 1 where something does not fit."
    checking = commands.add_parser("check", help=told, description=told)
    checking.add_argument("--url", required=True, help=URL_HELP)
    checking.add_argument("--database", default="main", help="the server's name in the configuration (main)")
    checking.add_argument("--registry", help="the main database, where the tenants to compare are on another one")
    checking.add_argument(
        "--schema", action="append", help="compare this schema, not the registered tenants'; repeatable"
    )
    return parser


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "build":
            build(given.folder, given.to or given.folder / "stowage_entities")
        case "inspect":
            return _inspect(given.url, given.schema)
        case "check":
            return _check(given)
    return 0


def _check(given: argparse.Namespace) -> int:
    began = time.monotonic()
    with connected(given.url) as connection:
        schemas = given.schema or _schemas(connection, given)
        absent, shapes = read_shapes(connection, schemas, wanted_columns(DECLARED))
        others = [*check_shared(connection, DECLARED, schemas), *check_backups(connection, DECLARED, schemas)]
        roles = has_roles(connection)
    findings = [*check(DECLARED, absent, shapes), *others]
    for finding in findings:
        print(_line(finding, len(schemas)))
    if not roles:
        print("Stowage's roles are not there, so rights were not compared: `python -m stowage.postgres roles`.")
    errors = sum(finding.severity == "error" for finding in findings)
    told = f"{len(DECLARED)} entities, {len(schemas):,} tenants, {time.monotonic() - began:.1f} s"
    print(f"{told}: {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


def _schemas(connection: Any, given: argparse.Namespace) -> list[str]:
    """The schemas of the tenants that the registry has on that database."""
    with nullcontext(connection) if given.registry is None else connected(given.registry) as registry:
        tenants = read_tenants(registry)
    return [tenant.schema for tenant in tenants if tenant.database == given.database]


def _line(finding: Finding, tenants: int) -> str:
    whose = ""
    if finding.tenants is not None:
        more = ", …" if finding.tenants > _NAMED else ""
        whose = f"  ({finding.tenants:,} of {tenants:,} tenants: {', '.join(finding.schemas[:_NAMED])}{more})"
    return f"{finding.severity:8} {finding.entity or '-':20} {finding.sentence}{whose}"


def _inspect(url: str, schema: str) -> int:
    with connected(url) as connection:
        tables = read_tables(connection, schema)
    if tables is None:
        raise StowageError(f"There is no schema {schema!r}.")
    print(write_declarations(schema, tables), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
