"""`python -m stowage.entities`: the declarations of your tables, written, built and compared with the database."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stowage.basics.errors import StowageError
from stowage.entities.building import build
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import DeclarationError
from stowage.postgres.schema.catalogue import read_tables
from stowage.postgres.session.command_line import connected

_URL_HELP = (
    "where to connect, as postgresql://user@host:port/database; the password comes from PGPASSWORD or PGPASSFILE"
)


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
    inspecting.add_argument("--url", required=True, help=_URL_HELP)
    inspecting.add_argument("--schema", required=True, help="the schema of one tenant")
    return parser


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "build":
            build(given.folder, given.to or given.folder / "stowage_entities")
        case "inspect":
            return _inspect(given.url, given.schema)
    return 0


def _inspect(url: str, schema: str) -> int:
    with connected(url) as connection:
        tables = read_tables(connection, schema)
    if tables is None:
        raise StowageError(f"There is no schema {schema!r}.")
    print(write_declarations(schema, tables), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
