"""`python -m local.database URL`: bring a database to this version, by the same commands that an owner runs."""

import argparse
import sys

import psycopg

from local.console import say
from local.sample import load
from stowage.basics.errors import StowageError
from stowage.postgres.schema.migrations import apply_roles, migrate, migrate_tenants


def prepare(url: str, *, sample: bool, scale: int) -> None:
    """Roles, migrations and sample tenants, each where it is missing."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        apply_roles(connection)
        migrate(connection)
        migrate_tenants(connection)
    if sample:
        load(url, scale)


def main() -> int:
    """Prepare the database of the command line; 1 and a line that says why where it refuses."""
    parser = argparse.ArgumentParser(prog="python -m local.database", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--no-sample", dest="sample", action="store_false")
    parser.add_argument("--scale", type=int, default=1)
    given = parser.parse_args()
    try:
        prepare(given.url, sample=given.sample, scale=given.scale)
    except StowageError as error:
        say(error.message)
    except psycopg.Error as error:
        say(f"The database refused: {str(error).strip()}")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
