"""Databases for trial restores: each of a run's attempt, empty but for what it restores, and dropped after it."""

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.errors import RunError
from stowage.postgres.dumps.contents import DumpContents

_TRIAL = "stowage_trial_"


def trial_of(run_id: str, attempt: int) -> str:
    """The database in which an attempt tries a backup out."""
    return f"{_trials_of(run_id)}{attempt}"


def _trials_of(run_id: str) -> str:
    return f"{_TRIAL}{run_id.replace('-', '')}_"


_CREATE = sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}")
_CLOSE = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
_SETTINGS: LiteralString = """
SELECT split_part(setting, '=', 1), substr(setting, position('=' in setting) + 1)
FROM pg_db_role_setting CROSS JOIN LATERAL unnest(setconfig) AS setting
WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND split_part(setting, '=', 1) IN ('bytea_output', 'xmlbinary', 'lc_monetary', 'lc_numeric', 'lc_time')
ORDER BY 1
"""
"""What decides how the same value is written, and pg_dump does not set itself."""
_SET = sql.SQL("ALTER DATABASE {} SET {} = {}")


def make_trial(connection: psycopg.Connection, name: str, contents: DumpContents) -> None:
    """Make an empty database that holds and sorts texts as the backed-up one did, closed to everybody else."""
    connection.execute(_CREATE.format(sql.Identifier(name), sql.SQL(" ").join(_likeness(contents))))
    connection.execute(_CLOSE.format(sql.Identifier(name)))
    for setting, value in connection.execute(_SETTINGS).fetchall():
        connection.execute(_SET.format(sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)))


_LIKENESS = {
    "encoding": sql.SQL("ENCODING {}"),
    "provider": sql.SQL("LOCALE_PROVIDER {}"),
    "collate": sql.SQL("LC_COLLATE {}"),
    "ctype": sql.SQL("LC_CTYPE {}"),
    "icu": sql.SQL("ICU_LOCALE {}"),
    "builtin": sql.SQL("BUILTIN_LOCALE {}"),
}


def _likeness(contents: DumpContents) -> Iterator[sql.Composed]:
    """The options of CREATE DATABASE by which it is like the one that was backed up; none that the manifest lacks."""
    locale = contents.locale
    given = {
        "encoding": contents.encoding,
        "provider": locale.provider,
        "collate": locale.collate,
        "ctype": locale.ctype,
        locale.provider: locale.locale,
    }
    for name, option in _LIKENESS.items():
        if value := given.get(name):
            yield option.format(sql.Literal(value))


_DROP = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
_FIND: LiteralString = "SELECT datname::text FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1"


def drop_trial(connection: psycopg.Connection, name: str) -> None:
    """Drop a trial's database, if it is there; whoever is in it is thrown out."""
    connection.execute(_DROP.format(sql.Identifier(name)))


def drop_trials(connection: psycopg.Connection, run_id: str) -> list[str]:
    """Drop every database that attempts of a run have left; which there were."""
    found = [name for (name,) in connection.execute(_FIND, (_trials_of(run_id),)).fetchall()]
    for name in found:
        drop_trial(connection, name)
    return found


_HIDDEN: LiteralString = """
SELECT relname::text FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s) AND relrowsecurity AND relforcerowsecurity
ORDER BY 1
"""


def must_show_its_rows(connection: psycopg.Connection[Any], schema: str) -> None:
    """RunError `trial_impossible`, with names, where row-level security holds even for the tables' owner: what was
    restored cannot be dumped again then.
    """
    found = [name for (name,) in connection.execute(_HIDDEN, (schema,)).fetchall()]
    if found:
        raise RunError(
            f"Row-level security holds even for the owner of {', '.join(found[:10])}, so what a trial restore brings "
            "back cannot be read again. Level 2 verifies it.",
            "trial_impossible",
        )
