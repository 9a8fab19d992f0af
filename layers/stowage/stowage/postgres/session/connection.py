"""Connections to the tenants' databases: which server, as which role, with whose password.

A warm function keeps its connection; whether it still lives is asked before a call's first
statement only, so that no statement is ever repeated behind anybody's back (docs/architecture.md).
"""

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stowage.basics.errors import MisconfiguredError, RunError, UnavailableError
from stowage.postgres.session.percent_signs import Cursor
from stowage.postgres.session.refusals import refusal
from stowage.settings import settings

Connection = psycopg.Connection
"""What callers outside this package name in their annotations."""

APP = "stowage_app"
DUMP = "stowage_dump"
OWNER = "stowage_owner"
RESTORE = "stowage_restore"
PURGE = "stowage_purge"

SERVER_CA = Path(__file__).with_name("server-ca.pem")
"""Who signs the servers' certificates, where a deployment says so: RDS's authorities are in no
system's store.
"""

# Where Debian (the worker) and Amazon Linux (functions) keep the public authorities.
_PUBLIC_CA = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))

_FILLED_IN = {"connect_timeout": "10", "application_name": "stowage"}
"""What we say where neither the database's URL nor the environment says anything."""

_kept: dict[tuple[str, str], psycopg.Connection] = {}

# Said after connecting, because poolers refuse startup options. What a database or a role has set
# for itself is not ours: another encoding, time zone or way to write dates would change values,
# `array_nulls = off` makes texts of the nulls in arrays, a lower `extra_float_digits` rounds the
# journal's floats, and with `gin_fuzzy_search_limit` a search leaves records out.
# Where row-level security would hide rows, `row_security = off` is an error instead (PostgreSQL
# documentation, "row_security"). Statements made of declarations are long and short-lived: to
# compile one took two seconds where it ran for two milliseconds. It is a transaction, which a
# pooler that shares sessions between statements refuses: so no other statement ever runs there.
_SESSION: LiteralString = """
BEGIN;
SET client_encoding = 'UTF8';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
SET standard_conforming_strings = on;
SET array_nulls = on;
SET transform_null_equals = off;
SET extra_float_digits = 1;
SET bytea_output = 'hex';
SET xmloption = 'content';
SET quote_all_identifiers = off;
SET gin_fuzzy_search_limit = 0;
SET exit_on_error = off;
SET row_security = off;
SET jit = off
"""


def connect(
    database: str, role: str, beside: psycopg.Connection | None = None, within: str | None = None
) -> psycopg.Connection:
    """A new connection of its own, in autocommit, texts in UTF-8, times in UTC; to the very server
    of the connection `beside`, where there are several of that name; `within` another database of
    that server.

    MisconfiguredError where no further attempt would change that the server will not have us
    (`login_refused`, `database_missing`, `tls_refused`, `connection_misconfigured`),
    UnavailableError where it has no room or does not answer.
    """
    parameters = _parameters(database, role, beside, within)
    filled_in = {name: value for name, value in _FILLED_IN.items() if _VARIABLES[name] not in os.environ}
    try:
        conninfo = make_conninfo("", **(filled_in | parameters))
        connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, cursor_factory=Cursor)
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise refusal(str(error)) or _unavailable(str(error)) from error
    try:
        connection.execute(_SESSION)
        connection.execute("COMMIT")
    except psycopg.Error as error:
        connection.close()
        raise refusal(str(error)) or _unavailable(str(error)) from error
    return connection


def _unavailable(messages: str) -> UnavailableError:
    sentence = "The database does not answer at the moment."
    if re.search(r"too many|connection slots|no more connections", messages):
        sentence = "The database has no room at the moment."
    elif re.search(r"(?:session|server) is (?:not )?(?:read-only|in hot standby)", messages):
        sentence = "None of the database's hosts is of the wanted kind at the moment (target_session_attrs)."
    return UnavailableError(sentence, "database_unavailable", retry_after=5)


_ALIVE: LiteralString = "SELECT 1"


@contextmanager
def borrowed(database: str, role: str = APP) -> Iterator[psycopg.Connection]:
    """This process's kept connection, checked before use; what fails on it closes it."""
    key = (database, role)
    kept = _kept.pop(key, None)
    if kept is not None:
        try:
            kept.execute(_ALIVE)
        except psycopg.Error:
            kept.close()
            kept = None
    connection = kept or connect(database, role)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    _kept[key] = connection


class ChildLogin(NamedTuple):
    """How a child process such as pg_dump logs in, as psycopg does: variables that only it gets,
    and a connection string with those parameters of libpq that have no variable ("" where there are
    none).
    """

    environment: dict[str, str]
    conninfo: str


# PostgreSQL documentation, "Environment Variables", as libpq itself tells it.
_VARIABLES = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
_SECRETS = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar in (b"*", b"D")}


def child_login(
    database: str, role: str, beside: psycopg.Connection | None = None, within: str | None = None
) -> ChildLogin:
    """The login of a child process, `beside` and `within` as in `connect`; errors as of `connect`, and
    `connection_misconfigured` for a secret that could only be told on its command line.
    """
    parameters = _parameters(database, role, beside, within)
    inherited = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    filled_in = {_VARIABLES[name]: value for name, value in _FILLED_IN.items()}
    environment = {_VARIABLES[name]: value for name, value in parameters.items() if name in _VARIABLES}
    others = {name: value for name, value in parameters.items() if name not in _VARIABLES}
    for name in sorted(others.keys() & _SECRETS):
        raise MisconfiguredError(
            f"The database URL's parameter {name} cannot be handed to pg_dump safely; do without it.",
            "connection_misconfigured",
        )
    return ChildLogin(filled_in | inherited | environment, make_conninfo("", **others) if others else "")


def _parameters(database: str, role: str, beside: psycopg.Connection | None, within: str | None) -> dict[str, str]:
    """All that the URL says, as libpq's parameters, with our role, its password and the authorities
    that it trusts.
    """
    try:
        url = settings().url_of(database)
    except KeyError:
        raise RunError(f"This deployment knows no database {database!r}.", "unknown_database") from None
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url.strip()).items()}
    except (psycopg.ProgrammingError, UnicodeDecodeError) as error:
        # libpq's words may hold a part of the URL, so they stay in the log.
        unreadable = MisconfiguredError(f"The URL of the database {database!r} is none.", "connection_misconfigured")
        raise refusal(str(error)) or unreadable from error
    parameters["user"] = role
    if within:
        parameters["dbname"] = within
    if beside:
        parameters |= {"host": beside.info.host, "port": str(beside.info.port)}
        if beside.info.hostaddr:
            parameters["hostaddr"] = beside.info.hostaddr
    if parameters.get("sslmode", "").startswith("verify-") and "sslrootcert" not in parameters:
        parameters |= _authorities(parameters["sslmode"])
    match settings().database_login:
        case "iam":
            parameters["password"] = _login_token(database, role, parameters)
        case "secret":
            parameters["password"] = _password(role)
    return parameters


def _login_token(database: str, role: str, parameters: Mapping[str, str]) -> str:
    from stowage.aws.database_tokens import login_token

    host, port = parameters.get("host", ""), parameters.get("port", "5432")
    if not host or "," in host or not port.isdecimal():
        raise MisconfiguredError(
            f"A token logs in to one host: the URL of {database!r} must name exactly one.", "connection_misconfigured"
        )
    return login_token(host, int(port), role)


def _password(role: str) -> str:
    try:
        return _passwords()[role]
    except KeyError:
        raise MisconfiguredError(f"The secret has no password for {role}.", "login_refused") from None


def _authorities(sslmode: str) -> dict[str, str]:
    """Whose signature a server's certificate needs, as libpq's `sslrootcert`.

    Not `system`: that means the store of whichever OpenSSL is linked, and psycopg's own has none
    (its wheels look in /usr/lib/psycopg-openssl). The public authorities sign for anybody, so they
    are good enough only where the name is looked at too (PostgreSQL documentation, "sslrootcert").
    """
    if SERVER_CA.exists():
        return {"sslrootcert": str(SERVER_CA)}
    if sslmode != "verify-full":
        return {}
    pythons = ssl.get_default_verify_paths().cafile
    found = next((path for path in (Path(pythons) if pythons else SERVER_CA, *_PUBLIC_CA) if path.exists()), None)
    return {"sslrootcert": str(found or "system")}


@cache
def _passwords() -> dict[str, str]:
    from stowage.aws.secrets import read_secret

    passwords: dict[str, str] = json.loads(read_secret(settings().database_secret))
    return passwords
