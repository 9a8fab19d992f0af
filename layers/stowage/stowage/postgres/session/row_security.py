"""Row-level security that would hide rows from us. Every session of ours says `row_security = off`,
so that Postgres refuses such a statement instead of leaving rows out; here that refusal gets its
words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stowage.basics.errors import MisconfiguredError

CODE = "row_level_security"
NAMED = 5
"""How many tables a message names before it only counts."""


@dataclass(frozen=True)
class HidingTable:
    """A table whose policies hold for the role that is logged in. `forced`: for its owner too.
    `above`: its owner may act as that role, a superuser for example, so the role cannot become a
    member of the owner.
    """

    name: str
    owner: str
    forced: bool
    above: bool


_SERVER: LiteralString = "SELECT current_user, current_setting('server_version_num')::int >= 160000"

_IN_SCHEMA: LiteralString = """
SELECT relname AS name, pg_get_userbyid(relowner) AS owner, relforcerowsecurity AS forced,
       pg_has_role(relowner, current_user, 'MEMBER') AS above
FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
  AND relkind IN ('r', 'p') AND relrowsecurity AND row_security_active(oid)
ORDER BY 1
"""

# Postgres names the table in a message of the server's language, and nowhere else. Tenants' tables
# are of one name.
_NAMED: LiteralString = """
SELECT DISTINCT relname AS name, pg_get_userbyid(relowner) AS owner, relforcerowsecurity AS forced,
                pg_has_role(relowner, current_user, 'MEMBER') AS above
FROM pg_class
WHERE relkind IN ('r', 'p') AND relrowsecurity AND row_security_active(oid)
  AND has_schema_privilege(relnamespace, 'USAGE')
  AND %(message)s ~ ('\\W' || regexp_replace(relname, '(\\W)', '\\\\\\1', 'g') || '\\W')
ORDER BY 1, 2
"""


def is_row_security(error: psycopg.Error) -> bool:
    """Whether Postgres refused a statement because of row-level security.

    It shares its SQLSTATE with missing privileges, and its message has the server's language; the
    function that raises it (PostgreSQL's source, `rls.c`) has always had this name.
    """
    return error.sqlstate == "42501" and error.diag.source_function == "check_enable_rls"


def refuse_hidden_rows(connection: psycopg.Connection, schema: str) -> None:
    """MisconfiguredError `row_level_security` where a table's policies would hide rows of that
    schema from us.
    """
    with connection.cursor(row_factory=class_row(HidingTable)) as cursor:
        tables = cursor.execute(_IN_SCHEMA, {"schema": schema}).fetchall()
    if tables:
        raise _refusal(connection, tables)


def told_of(connection: psycopg.Connection, error: psycopg.Error) -> MisconfiguredError:
    """Our error for one that `is_row_security`; it ends the connection's transaction."""
    connection.rollback()
    with connection.cursor(row_factory=class_row(HidingTable)) as cursor:
        message = f" {error.diag.message_primary or ''} "
        return _refusal(connection, cursor.execute(_NAMED, {"message": message}).fetchall())


def _refusal(connection: psycopg.Connection, tables: Sequence[HidingTable]) -> MisconfiguredError:
    """Name tables, role and the statement that helps: members of the owner see everything, but
    where the table FORCEs its policies on the owner (PostgreSQL documentation, "Row Security
    Policies").
    """
    role, has_options = connection.execute(_SERVER).fetchone() or ("", True)
    names = sorted({table.name for table in tables})
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    hidden = f"Row-level security would hide rows of {', '.join(names[:NAMED]) or 'a table'}{more} from {role}."
    for table in tables:
        if table.forced or table.above:
            why = "its policies hold for its owner too" if table.forced else f"{table.owner} may act as {role}"
            statement = sql.SQL("ALTER ROLE {} BYPASSRLS;").format(sql.Identifier(role)).as_string(connection)
            return MisconfiguredError(
                f"{hidden} As {why}, only one thing helps: {statement} by a superuser or a role that has it itself.",
                CODE,
            )
    grant = sql.SQL("GRANT {} TO {}" + (" WITH INHERIT TRUE;" if has_options else ";"))
    owners = sql.SQL(", ").join(map(sql.Identifier, sorted({table.owner for table in tables})))
    statement = grant.format(owners, sql.Identifier(role)).as_string(connection)
    return MisconfiguredError(
        f"{hidden} Members of a table's owner see all of it: {statement} by a role that may grant that.", CODE
    )
