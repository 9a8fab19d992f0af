"""Connections as the product makes them: a server that refuses us is told from one without room, a forged one too."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from stowage.basics.errors import RunError, UnavailableError
from stowage.postgres.dumps.failures import dump_error
from stowage.postgres.session import connection
from stowage.postgres.session.connection import APP, child_login, connect
from stowage.postgres.session.refusals import refusal
from stowage.settings import settings
from tests.conftest import RunningStack, free_ports
from tests.stack.certificates import make_certificate

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How libpq asks for TLS (PostgreSQL documentation, "Message Formats")."""

type Deploy = Callable[[str], None]


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Makes the settings those of a deployment on a database of this URL."""

    def deployed(url: str) -> None:
        for name, value in {"TABLE": "t", "EXPORTS_BUCKET": "e", "BACKUPS_BUCKET": "b", "DATABASE_URL": url}.items():
            monkeypatch.setenv(f"STOWAGE_{name}", value)
        settings.cache_clear()

    yield deployed
    settings.cache_clear()


@pytest.mark.parametrize(
    ("role", "database", "code"),
    [
        ("stowage_nobody", None, "login_refused"),
        ("postgres", None, "login_refused"),  # pg_hba.conf rejects the superuser's logins
        (APP, "nowhere", "database_missing"),
    ],
    ids=["a missing role", "a role that pg_hba.conf rejects", "a missing database"],
)
def test_a_refused_login_is_told_and_not_tried_again(
    stack: RunningStack, deploy: Deploy, role: str, database: str | None, code: str
) -> None:
    url = stack.product_url
    deploy(url.replace("/stowage?", f"/{database}?") if database else url)

    with pytest.raises(RunError) as caught:
        connect("main", role)

    assert (caught.value.code, caught.value.retryable) == (code, False)
    assert "127.0.0.1" not in caught.value.message


def test_a_refused_password_is_told_and_not_tried_again(stack: RunningStack, deploy: Deploy) -> None:
    for words in (
        'FATAL:  password authentication failed for user "stowage_app"',
        'FATAL:  PAM authentication failed for user "stowage_app"',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "stowage_app", database "app", no encryption',
        "fe_sendauth: no password supplied",
    ):
        told = refusal(f'connection failed: connection to server at "10.0.0.1", port 5432 failed: {words}')
        assert told is not None
        assert told.code == dump_error(1, f"pg_dump: error: {words}", "tenant_acme").code == "login_refused"
    deploy(f"{stack.product_url}0")
    with pytest.raises(RunError) as caught:
        connect("main", APP)
    assert (caught.value.code, caught.value.retryable) == ("login_refused", False)


@pytest.mark.parametrize("words", ["sorry, too many clients already", "the database system is starting up"])
def test_a_server_without_room_is_no_refusal(words: str) -> None:
    assert refusal(f"connection to server failed: FATAL:  {words}") is None


def test_a_server_that_does_not_answer_is_worth_another_attempt(deploy: Deploy) -> None:
    deploy(f"postgresql://127.0.0.1:{free_ports(1)[0]}/app")

    with pytest.raises(UnavailableError) as caught:
        connect("main", APP)

    assert caught.value.code == "database_unavailable"


# Certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key, as files."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tls_server(certificate: tuple[Path, Path]) -> Iterator[tuple[str, list[bytes]]]:
    """The URL of a server that speaks Postgres's TLS and then hangs up, and what clients that trust it have sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    trusted: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            with plain:
                if plain.recv(8) == SSL_REQUEST:
                    plain.sendall(b"S")
                    try:
                        with context.wrap_socket(plain, server_side=True) as encrypted:
                            trusted.append(encrypted.recv(1024))
                    except OSError:
                        continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"postgresql://127.0.0.1:{listening.getsockname()[1]}/app", trusted
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize("sslmode", ["verify-full", "verify-ca"])
def test_a_server_signed_by_the_file_beside_the_code_is_trusted(
    tls_server: tuple[str, list[bytes]],
    certificate: tuple[Path, Path],
    deploy: Deploy,
    monkeypatch: pytest.MonkeyPatch,
    sslmode: str,
) -> None:
    url, trusted = tls_server
    monkeypatch.setattr(connection, "SERVER_CA", certificate[0])
    deploy(f"{url}?sslmode={sslmode}")

    with pytest.raises(UnavailableError):  # it hangs up
        connect("main", APP)

    assert b"stowage_app" in trusted[0]
    assert child_login("main", APP).environment["PGSSLROOTCERT"] == str(certificate[0])


def test_a_server_signed_by_nobody_known_is_not_trusted(
    tls_server: tuple[str, list[bytes]], deploy: Deploy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, trusted = tls_server
    monkeypatch.setattr(connection, "SERVER_CA", tmp_path / "none.pem")
    deploy(f"{url}?sslmode=verify-full")

    with pytest.raises(RunError) as caught:
        connect("main", APP)

    assert (caught.value.code, caught.value.retryable) == ("tls_refused", False)
    assert "certificate verify failed" in str(caught.value.__cause__)
    assert not trusted


def test_without_the_file_the_public_authorities_are_those_of_the_system(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(connection, "SERVER_CA", tmp_path / "none.pem")
    deploy("postgresql://127.0.0.1/app?sslmode=verify-full")

    authorities = child_login("main", APP).environment["PGSSLROOTCERT"]

    assert authorities == "system" or ssl.create_default_context(cafile=authorities).get_ca_certs()


def test_what_the_url_says_of_authorities_holds(deploy: Deploy) -> None:
    deploy("postgresql://127.0.0.1/app?sslmode=verify-full&sslrootcert=/own.pem")
    assert child_login("main", APP).environment["PGSSLROOTCERT"] == "/own.pem"

    deploy("postgresql://127.0.0.1/app?sslmode=prefer")
    assert "PGSSLROOTCERT" not in child_login("main", APP).environment


def test_the_file_is_where_the_readme_puts_it_and_never_committed() -> None:
    root = Path(__file__).parents[2]
    named = connection.SERVER_CA.relative_to(root).as_posix()
    assert f"-o {named} " in (root / "README.md").read_text()
    assert named in (root / ".gitignore").read_text().splitlines()


def test_psycopgs_libpq_takes_system_for_authorities() -> None:
    assert psycopg.pq.version() >= 160000
