"""Connections to the tenants' databases: which server, as which role, with whose password.

A warm function keeps its connection; whether it still lives is asked before a call's first statement only, so that no
statement is ever repeated behind anybody's back (DESIGN §3.5).
"""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stowage.basics.errors import RunError, UnavailableError
from stowage.postgres.session.refusals import refusal
from stowage.settings import settings

Connection = psycopg.Connection
"""What callers outside this package name in their annotations."""

APP = "stowage_app"
DUMP = "stowage_dump"
OWNER = "stowage_owner"
PURGE = "stowage_purge"

SERVER_CA = Path(__file__).with_name("server-ca.pem")
"""Who signs the servers' certificates, where a deployment says so: RDS's authorities are in no system's store."""

# Where Debian (the worker) and Amazon Linux (functions) keep the public authorities.
_PUBLIC_CA = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))

_CONNECT_SECONDS = 10
_kept: dict[tuple[str, str], psycopg.Connection] = {}

# libpq's names for the variables of a child process (PostgreSQL documentation, "Environment Variables").
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "options": "PGOPTIONS",
}


def connect(database: str, role: str) -> psycopg.Connection:
    """A new connection of its own, in autocommit, times in UTC.

    RunError `login_refused` or `database_missing` where the server will not have us, UnavailableError where it has no
    room or does not answer.
    """
    parameters = _parameters(database, role)
    parameters["options"] = f"{parameters.get('options', '')} -c TimeZone=UTC -c DateStyle=ISO".strip()
    conninfo = make_conninfo("", connect_timeout=_CONNECT_SECONDS, application_name="stowage", **parameters)
    try:
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        unavailable = UnavailableError("The database has no room at the moment.", "database_unavailable", retry_after=5)
        raise refusal(str(error)) or unavailable from error


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


def connection_environment(database: str, role: str) -> dict[str, str]:
    """The variables with which a child process such as pg_dump logs in; only that process gets them."""
    return {_VARIABLES[name]: str(value) for name, value in _parameters(database, role).items() if name in _VARIABLES}


def _parameters(database: str, role: str) -> dict[str, str]:
    try:
        url = settings().url_of(database)
    except KeyError:
        raise RunError(f"This deployment knows no database {database!r}.", "unknown_database") from None
    parameters = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    parameters["user"] = role
    if parameters.get("sslmode", "").startswith("verify-") and "sslrootcert" not in parameters:
        parameters |= _authorities(parameters["sslmode"])
    match settings().database_login:
        case "iam":
            from stowage.aws.database_tokens import login_token

            parameters["password"] = login_token(parameters["host"], int(parameters.get("port", 5432)), role)
        case "secret":
            parameters["password"] = _passwords()[role]
    return parameters


def _authorities(sslmode: str) -> dict[str, str]:
    """Whose signature a server's certificate needs, as libpq's `sslrootcert`.

    Not `system`: that means the store of whichever OpenSSL is linked, and psycopg's own has none (its wheels look in
    /usr/lib/psycopg-openssl). The public authorities sign for anybody, so they are good enough only where the name is
    looked at too (PostgreSQL documentation, "sslrootcert").
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
