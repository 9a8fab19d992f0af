"""A database's URL holds whatever libpq knows: psycopg and pg_dump connect by the same description,
and what is wrong with it is named and not tried again.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from stowage.basics.errors import RunError, UnavailableError
from stowage.postgres.__main__ import main
from stowage.postgres.dumps.failures import dump_error
from stowage.postgres.dumps.pg_dump import Dump
from stowage.postgres.session.connection import DUMP, child_login, connect
from stowage.settings import settings
from tests.conftest import free_ports
from tests.stack.certificates import make_certificate
from tests.stack.dump_surface import Database, whole
from tests.stack.servers import NEWEST, OLDER, Servers, start_servers

type Deploy = Callable[[str], None]

ACCESS = """\
hostssl certified all 127.0.0.1/32 trust clientcert=verify-ca
host certified all 127.0.0.1/32 reject
host asking all 127.0.0.1/32 scram-sha-256
host forbidden all 127.0.0.1/32 reject
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Servers for this file alone: it changes who may log in."""
    with start_servers() as servers:
        yield servers


@pytest.fixture(scope="module")
def database(servers: Servers, certificate: tuple[Path, Path]) -> Database:
    """A database of a server that speaks TLS, on which some other databases ask for more than a
    name.
    """
    server = servers(OLDER)
    data = server.folder / "data"
    for source, name in zip(certificate, ("server.pem", "server.key"), strict=True):
        # Postgres reads its key only where nobody else can.
        subprocess.run(["install", "-m", "600", str(source), str(data / name)], check=True)
        subprocess.run(["chown", f"--reference={data}", str(data / name)], check=True)
    rules = (data / "pg_hba.conf").read_text()
    (data / "pg_hba.conf").write_text(ACCESS + rules)
    made = server.make_database()
    connection = made.connect()
    connection.execute("CREATE ROLE stowage_dump LOGIN PASSWORD 'right'; CREATE SCHEMA tenant_acme")
    connection.execute("GRANT ALL ON SCHEMA tenant_acme TO stowage_dump; CREATE TABLE tenant_acme.t (id int)")
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA tenant_acme TO stowage_dump")
    for name in ("certified", "asking", "forbidden"):
        connection.execute(f"CREATE DATABASE {name}".encode())
    for name, value in {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key",
                        "ssl_ca_file": "server.pem"}.items():  # fmt: skip
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    connection.execute("SELECT pg_reload_conf()")
    return made


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Makes the settings those of a deployment on a database of this URL."""

    def deployed(url: str) -> None:
        for name, value in {"TABLE": "t", "EXPORTS_BUCKET": "e", "BACKUPS_BUCKET": "b", "DATABASE_URL": url}.items():
            monkeypatch.setenv(f"STOWAGE_{name}", value)
        settings.cache_clear()

    yield deployed
    settings.cache_clear()


def place(database: Database, hosts: str = "127.0.0.1:{port}", name: str | None = None) -> str:
    values = database.environment
    return f"postgresql://{hosts.format(port=values['PGPORT'], dead=free_ports(1)[0])}/{name or values['PGDATABASE']}"


def dumped(database: Database, schema: str = "tenant_acme") -> bytes:
    """What pg_dump gives of a schema by the login that a child process gets."""
    login = child_login("main", DUMP)
    return whole(Dump(schema, "sql", login.environment, conninfo=login.conninfo, binary=database.pg_dump))


USABLE = {
    "connect_timeout": ("", "connect_timeout=5"),
    "application_name": ("", "application_name=mine"),
    "keepalives, which has no variable": ("", "keepalives=1&keepalives_idle=30&tcp_user_timeout=5000"),
    "options": ("", "options=-c%20statement_timeout%3D90s%20-c%20work_mem%3D8MB"),
    "target_session_attrs": ("", "target_session_attrs=read-write"),
    "channel_binding": ("", "channel_binding=prefer"),
    "another encoding": ("", "client_encoding=LATIN1"),
    "sslmode": ("", "sslmode=require"),
    "sslmode and protocol": ("", "sslmode=require&ssl_min_protocol_version=TLSv1.3"),
    "several hosts, the first one dead": ("127.0.0.1:{dead},127.0.0.1:{port}", "target_session_attrs=any"),
    "an address": ("localhost:{port}", "hostaddr=127.0.0.1"),
    "fallback_application_name, which has no variable": ("", "fallback_application_name=mine"),
}


@pytest.mark.parametrize(("hosts", "parameters"), USABLE.values(), ids=USABLE.keys())
def test_what_libpq_knows_connects_psycopg_and_pg_dump(
    database: Database, deploy: Deploy, hosts: str, parameters: str
) -> None:
    deploy(f"{place(database, hosts or '127.0.0.1:{port}')}?{parameters}")

    with connect("main", DUMP) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("stowage_dump",)
    assert b"CREATE TABLE tenant_acme.t" in dumped(database)


def test_a_client_certificate_reaches_psycopg_and_pg_dump(
    database: Database, deploy: Deploy, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    key = tmp_path / "client.key"
    key.write_bytes(certificate[1].read_bytes())
    key.chmod(0o600)
    certified = f"{place(database, name='certified')}?sslmode=verify-full&sslrootcert={certificate[0]}"
    deploy(f"{certified}&sslcert={certificate[0]}&sslkey={key}")

    with connect("main", DUMP) as connection:
        assert connection.pgconn.ssl_in_use
    with pytest.raises(RunError) as caught:
        dumped(database)
    assert caught.value.code == "schema_missing"  # it was let in, and there is none in that database

    deploy(certified)
    with pytest.raises(RunError) as refused:
        connect("main", DUMP)
    assert (refused.value.code, refused.value.retryable) in {("login_refused", False), ("tls_refused", False)}


def test_a_service_names_the_server(
    database: Database, deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = database.environment
    file = tmp_path / "services.conf"
    file.write_text(f"[mine]\nhost={values['PGHOST']}\nport={values['PGPORT']}\ndbname={values['PGDATABASE']}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    deploy("postgresql://?service=mine")

    connect("main", DUMP).close()
    assert b"CREATE TABLE tenant_acme.t" in dumped(database)


def test_the_environment_fills_in_for_both(database: Database, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGAPPNAME", "from the environment")
    monkeypatch.setenv("PGSSLMODE", "require")
    deploy(place(database))

    with connect("main", DUMP) as connection:
        assert connection.execute("SELECT current_setting('application_name')").fetchone() == ("from the environment",)
        assert connection.pgconn.ssl_in_use
    assert child_login("main", DUMP).environment["PGSSLMODE"] == "require"


def test_what_the_url_says_holds_against_what_is_filled_in(database: Database, deploy: Deploy) -> None:
    deploy(f"{place(database)}?application_name=mine&options=-c%20TimeZone%3DAsia/Tokyo")

    with connect("main", DUMP) as connection:
        shown = connection.execute("SELECT current_setting('application_name'), current_setting('TimeZone')").fetchone()
    assert shown == ("mine", "UTC")
    environment = child_login("main", DUMP).environment
    assert (environment["PGAPPNAME"], environment["PGCONNECT_TIMEOUT"]) == ("mine", "10")


OTHERWISE = {
    "client_encoding": ("LATIN1", "UTF8"),
    "TimeZone": ("Asia/Tokyo", "UTC"),
    "DateStyle": ("SQL, DMY", "ISO, DMY"),
    "IntervalStyle": ("iso_8601", "postgres"),
    "standard_conforming_strings": ("off", "on"),
    "array_nulls": ("off", "on"),
    "transform_null_equals": ("on", "off"),
    "extra_float_digits": ("0", "1"),
    "bytea_output": ("escape", "hex"),
    "xmloption": ("document", "content"),
    "quote_all_identifiers": ("on", "off"),
    "gin_fuzzy_search_limit": ("1", "0"),
    "exit_on_error": ("on", "off"),
    "row_security": ("on", "off"),
    "jit": ("on", "off"),
}
"""What a database may prefer, and what a session of ours has."""


def test_a_session_is_ours_whatever_database_and_role_prefer(database: Database, deploy: Deploy) -> None:
    name = database.environment["PGDATABASE"]
    owner = database.connect()
    for setting, (preferred, _) in OTHERWISE.items():
        said = sql.SQL(", ").join(map(sql.Literal, preferred.split(", ")))
        statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
        owner.execute(statement.format(sql.Identifier(name), sql.Identifier(setting), said))
    deploy(place(database))
    try:
        with connect("main", DUMP) as connection:
            shown = {
                setting: (connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() or [None])[0]
                for setting in OTHERWISE
            }
            values = connection.execute("SELECT %s::text[], to_jsonb(0.1::float8 + 0.2)::text", (["a", None],))
            assert values.fetchone() == (["a", None], "0.30000000000000004")
    finally:
        owner.execute(f"ALTER DATABASE {name} RESET ALL".encode())
    assert shown == {setting: ours for setting, (_, ours) in OTHERWISE.items()}


def test_no_startup_option_is_sent_that_a_pooler_would_refuse(database: Database, deploy: Deploy) -> None:
    deploy(place(database))
    with connect("main", DUMP) as connection:
        assert "options" not in connection.info.get_parameters()
    assert "PGOPTIONS" not in child_login("main", DUMP).environment


WRONG = {
    "an unknown parameter": ("?conect_timeout=5", "connection_misconfigured", "conect_timeout"),
    "no value": ("?sslmode", "connection_misconfigured", ""),
    "a value that is none": ("?sslmode=sometimes", "connection_misconfigured", "sslmode"),
    "a number that is none": ("?connect_timeout=soon", "connection_misconfigured", "connect_timeout"),
    "attributes that are none": ("?target_session_attrs=any-of", "connection_misconfigured", "target_session_attrs"),
    "a binding that is none": ("?channel_binding=maybe", "connection_misconfigured", "channel_binding"),
    "a negotiation that is none": ("?sslnegotiation=indirect", "connection_misconfigured", "sslnegotiation"),
    "a certificate whose key is not there": (
        "?sslmode=require&sslcert={certificate}&sslkey=/nowhere/c.key",
        "connection_misconfigured",
        "sslkey",
    ),
    "a certificate that is none": (
        "?sslmode=require&sslcert=/etc/passwd&sslkey=/nowhere/c.key",
        "connection_misconfigured",
        "sslcert",
    ),
    "authorities that are not there": (
        "?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        "connection_misconfigured",
        "sslrootcert",
    ),
    "a service that is not there": ("?service=nobodys", "connection_misconfigured", "service"),
    "a setting that is not there": ("?options=-c%20no_such_setting%3D1", "connection_misconfigured", "no_such_setting"),
    "a setting's value that is none": ("?options=-c%20work_mem%3Dlots", "connection_misconfigured", "work_mem"),
    "options that are none": ("?options=fast", "connection_misconfigured", "options"),
    "a setting of superusers": (
        "?options=-c%20session_replication_role%3Dreplica",
        "connection_misconfigured",
        "session_replication_role",
    ),
    "a role of somebody else": ("?options=-c%20role%3Dpostgres", "connection_misconfigured", "role"),
    "a replica's connection": ("?replication=database", "connection_misconfigured", "replication"),
    "Kerberos where there is none": ("?gssencmode=require", "connection_misconfigured", "gssencmode"),
    "no protocol left": (
        "?sslmode=require&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
        "connection_misconfigured",
        "ssl_min_protocol_version",
    ),
    "a key that is none": ("?scram_client_key=zz", "connection_misconfigured", "scram_client_key"),
    "an address that is none": ("?hostaddr=999.1.1.1", "connection_misconfigured", "hostaddr"),
    "a certificate nobody asks for": ("?sslcertmode=require&sslmode=require", "tls_refused", "SSL certificate"),
    "a certificate of nobody known": ("?sslmode=verify-full", "tls_refused", "certificate verify failed"),
    "a login that the server does not ask for": ("?require_auth=scram-sha-256", "login_refused", ""),
    "a channel that cannot be bound": ("?channel_binding=require", "tls_refused", "channel binding"),
}


@pytest.mark.parametrize(("parameters", "code", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_a_url_is_named_and_not_tried_again(
    database: Database, deploy: Deploy, certificate: tuple[Path, Path], parameters: str, code: str, named: str
) -> None:
    deploy(place(database) + parameters.format(certificate=certificate[0]))

    with pytest.raises(RunError) as caught:
        connect("main", DUMP)

    assert (caught.value.code, caught.value.retryable, caught.value.status) == (code, False, 503)
    assert named in caught.value.message
    assert "127.0.0.1" not in caught.value.message
    if parameters.partition("=")[0] in NEWER_THAN_15:
        return  # this pg_dump does not know the parameter, so it takes nothing amiss
    with pytest.raises(RunError) as by_pg_dump:
        dumped(database)
    assert (by_pg_dump.value.code, by_pg_dump.value.retryable) == (code, False)


NEWER_THAN_15 = ("?require_auth", "?sslnegotiation", "?sslcertmode")
WRONG_PLACES = {
    "a port that is none": ("postgresql://127.0.0.1:port/app", "connection_misconfigured"),
    "a port out of range": ("postgresql://127.0.0.1:99999/app", "connection_misconfigured"),
    "more ports than hosts": ("postgresql:///app?host=127.0.0.1&port=1,2", "connection_misconfigured"),
    "not a URL": ("postgres//nothing", "connection_misconfigured"),
    "not UTF-8": ("postgresql://127.0.0.1/se%FFcret", "connection_misconfigured"),
    "a parameter that is not UTF-8": ("postgresql://127.0.0.1/app?password=se%FFcret", "connection_misconfigured"),
    "a broken escape": ("postgresql://127.0.0.1/app?password=se%zzcret", "connection_misconfigured"),
}


@pytest.mark.parametrize(("url", "code"), WRONG_PLACES.values(), ids=WRONG_PLACES.keys())
def test_a_place_that_is_none_is_told_without_its_secrets(deploy: Deploy, url: str, code: str) -> None:
    deploy(url)

    with pytest.raises(RunError) as caught:
        connect("main", DUMP)

    assert (caught.value.code, caught.value.retryable) == (code, False)
    assert not re.search("cret|127", caught.value.message)


LOGINS = {
    "no password": ("asking", "", "login_refused"),
    "a wrong password": ("asking", "?password=wrong", "login_refused"),
    "a rejected database": ("forbidden", "", "login_refused"),
    "a missing database of several words": ("no%20where", "", "database_missing"),
    "a missing database": ("nowhere", "", "database_missing"),
    "without TLS where it is asked for": ("certified", "?sslmode=disable", "login_refused"),
}


@pytest.mark.parametrize(("name", "parameters", "code"), LOGINS.values(), ids=LOGINS.keys())
def test_a_refused_login_is_told_by_psycopg_and_pg_dump(
    database: Database, deploy: Deploy, name: str, parameters: str, code: str
) -> None:
    deploy(place(database, name=name) + parameters)

    for attempt in (lambda: connect("main", DUMP), lambda: dumped(database)):
        with pytest.raises(RunError) as caught:
            attempt()
        assert (caught.value.code, caught.value.retryable) == (code, False)


def test_the_right_password_is_taken_by_both(database: Database, deploy: Deploy) -> None:
    deploy(place(database, name="asking") + "?password=right")

    connect("main", DUMP).close()
    with pytest.raises(RunError) as caught:
        dumped(database)
    assert caught.value.code == "schema_missing"


def test_a_server_without_tls_is_told_from_one_that_is_away(servers: Servers, deploy: Deploy) -> None:
    newest = servers(NEWEST)
    deploy(f"postgresql://127.0.0.1:{newest.port}/postgres?sslmode=require")
    with pytest.raises(RunError) as caught:
        connect("main", "postgres")
    assert (caught.value.code, caught.value.retryable) == ("tls_refused", False)

    deploy(f"postgresql://127.0.0.1:{free_ports(1)[0]}/postgres?sslmode=require")
    with pytest.raises(UnavailableError) as away:
        connect("main", "postgres")
    assert away.value.message == "The database does not answer at the moment."


def test_a_secret_that_only_a_command_line_could_tell_is_refused_for_children(
    database: Database, deploy: Deploy
) -> None:
    deploy(f"{place(database)}?sslpassword=hunter2")

    with pytest.raises(RunError, match="sslpassword") as caught:
        child_login("main", DUMP)

    assert caught.value.code == "connection_misconfigured"
    assert "hunter2" not in caught.value.message


def test_several_servers_of_one_name_are_not_mixed(servers: Servers, database: Database, deploy: Deploy) -> None:
    """A snapshot, its dump and whoever looks at it need the same one."""
    other = servers(NEWEST)
    with psycopg.connect(other.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE stowage_dump LOGIN")
    hosts = f"127.0.0.1:{database.environment['PGPORT']},127.0.0.1:{other.port}"
    seen = set()
    for place_of in (hosts, ",".join(reversed(hosts.split(",")))):
        deploy(f"postgresql://{place_of}/postgres")
        with connect("main", DUMP) as first:
            seen.add(first.info.port)
            for url in (f"postgresql://{hosts}/postgres", f"postgresql://{place_of}/postgres"):
                deploy(url)
                environment = child_login("main", DUMP, beside=first).environment
                assert (environment["PGPORT"], environment["PGHOSTADDR"]) == (str(first.info.port), "127.0.0.1")
                with connect("main", DUMP, beside=first) as second:
                    assert second.info.port == first.info.port
    assert len(seen) == 2


AWAY = {
    "no host answers": ("127.0.0.1:{dead},127.0.0.1:{dead}", "", "does not answer"),
    "none is of the wanted kind": ("127.0.0.1:{port}", "?target_session_attrs=standby", "target_session_attrs"),
}


@pytest.mark.parametrize(("hosts", "parameters", "told"), AWAY.values(), ids=AWAY.keys())
def test_what_may_pass_is_worth_another_attempt(
    database: Database, deploy: Deploy, hosts: str, parameters: str, told: str
) -> None:
    deploy(place(database, hosts) + parameters)

    with pytest.raises(UnavailableError, match=told) as caught:
        connect("main", DUMP)

    assert (caught.value.code, caught.value.retry_after) == ("database_unavailable", 5)


def test_a_dead_host_does_not_hide_why_the_next_one_refuses(database: Database, deploy: Deploy) -> None:
    deploy(place(database, "127.0.0.1:{dead},127.0.0.1:{port}", name="asking") + "?password=wrong")

    with pytest.raises(RunError) as caught:
        connect("main", DUMP)

    assert (caught.value.code, caught.value.retryable) == ("login_refused", False)


POOLERS = {
    "FATAL:  unsupported startup parameter: options": ("connection_misconfigured", "options"),
    "FATAL:  unsupported startup parameter in options: work_mem": ("connection_misconfigured", "work_mem"),
    "FATAL:  no such user: stowage_app": ("login_refused", "pooler"),
    "FATAL:  no such database: app": ("database_missing", "database"),
    "ERROR:  no more connections allowed (max_client_conn)": ("connection_lost", ""),
}


@pytest.mark.parametrize(("words", "told"), POOLERS.items())
def test_a_poolers_words_are_understood(words: str, told: tuple[str, str]) -> None:
    error = dump_error(1, f'pg_dump: error: connection to server at "10.0.0.1", port 6432 failed: {words}', "tenant_a")

    assert error.code == told[0]
    assert told[1] in error.message


def test_one_token_is_for_one_host(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_DATABASE_LOGIN", "iam")
    for url in ("postgresql://a.example,b.example/app", "postgresql:///app"):
        deploy(url)
        with pytest.raises(RunError) as caught:
            child_login("main", DUMP)
        assert caught.value.code == "connection_misconfigured"


def test_a_role_without_a_password_in_the_secret_is_named(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_DATABASE_LOGIN", "secret")
    monkeypatch.setattr("stowage.postgres.session.connection._passwords", dict[str, Any])
    deploy("postgresql://127.0.0.1/app")

    with pytest.raises(RunError, match="stowage_dump") as caught:
        child_login("main", DUMP)

    assert caught.value.code == "login_refused"


def test_psycopg_and_libpq_agree_on_what_there_is() -> None:
    """So that what the URL may say is what this libpq knows, without a list of ours."""
    assert {b"sslnegotiation", b"channel_binding", b"target_session_attrs"} <= {
        option.keyword for option in psycopg.pq.Conninfo.get_defaults()
    }


UNREAD = "The URL is not read by libpq. Give it as postgresql://user@host:port/database."
TYPED = {
    "postgresql://m:secret@{}/d?connect_timeout=abc": "The database URL's parameter connect_timeout cannot be used",
    "postgresql://m:secret@{}/d?schema=public&pgbouncer=true": "The database URL's parameter schema cannot be used",
    "postgresql+psycopg2://m:secret@{}/d": UNREAD,
    "http://m:secret@{}/d": UNREAD,
    "postgresql://m:secret%2@{}/d": UNREAD,
    "postgresql://m:secret 3@{}/d": UNREAD,
    "secret": UNREAD,
    " postgresql://m:secret@{}/d\n": "the database did not answer: connection failed: connection to server at",
}


@pytest.mark.parametrize(("url", "told"), TYPED.items())
def test_a_command_tells_what_is_wrong_with_its_url_and_no_secret(
    capsys: pytest.CaptureFixture[str], url: str, told: str
) -> None:
    assert main(["status", "--url", url.format("127.0.0.1:1")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}")
    assert "secret" not in said
