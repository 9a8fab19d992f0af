"""`python -m local.database URL`: bring a database to this version, by the same commands that an owner runs.

The password is in PGPASSWORD: everybody on the machine may read a command line.
"""

import argparse
import os
import sys

import psycopg
from psycopg import sql

from local.console import say
from local.sample import load
from stowage.basics.errors import StowageError
from stowage.postgres.schema.migrations import apply_roles, migrate, migrate_tenants
from stowage.postgres.session.command_line import connect_as

_OUR_LOGINS = r"""
SELECT rolname FROM pg_roles
WHERE rolcanlogin AND rolname LIKE 'stowage\_%' AND rolname <> current_user
  AND pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION')
"""


def prepare(url: str, password: str | None, *, sample: bool, scale: int) -> None:
    """Roles with that password, unless it is None; migrations and sample tenants, each where it is missing."""
    with connect_as(url) as connection:
        apply_roles(connection)
        for [role] in connection.execute(_OUR_LOGINS).fetchall() if password else ():
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password))
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
    parser.add_argument("--set-passwords", action="store_true", help="give the owner's password to all roles")
    given = parser.parse_args()
    try:
        password = os.environ["PGPASSWORD"] if given.set_passwords else None
        prepare(given.url, password, sample=given.sample, scale=given.scale)
    except StowageError as error:
        say(error.message)
    except psycopg.Error as error:
        say(f"The database refused: {str(error).strip()}")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
