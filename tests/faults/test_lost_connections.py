"""The database goes away in the middle of a request: whoever asked is told whether anything was changed."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import requests

from stowage.basics.errors import UnavailableError
from stowage.bulk import bulk_delete
from stowage.bulk.requests import DeleteRequest
from stowage.postgres.session.connection import borrowed
from stowage.postgres.session.transactions import look, transact
from stowage.settings import settings
from tests.conftest import RunningStack
from tests.faults.run_surface import eventually
from tests.stack.office import Office, in_process, open_office, refusal

WAITING = """
SELECT pid FROM pg_stat_activity
WHERE usename = current_user AND wait_event_type = 'Lock' AND datname = current_database() AND query ~ %s
"""


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    made.accounts("a", "b")
    made.posts("a", "p")
    yield made
    made.close()


@pytest.fixture
def as_role(office: Office) -> Callable[[str], psycopg.Connection]:
    """A connection as one of the product's roles, which may end that role's sessions."""

    def connect(role: str) -> psycopg.Connection:
        return psycopg.connect(office.stack.url_as(role), autocommit=True)

    return connect


def cut(connection: psycopg.Connection, query: str = "") -> None:
    """End the session of this role that waits for a lock, as an administrator or a failover does."""

    def waiting() -> list[tuple[int]]:
        return connection.execute(WAITING, (query,)).fetchall()

    ((pid,),) = eventually(waiting, "a session that waits")
    connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


@contextmanager
def held(office: Office, statement: str) -> Iterator[None]:
    """Somebody else's transaction, in the way until it is over."""
    with psycopg.connect(office.stack.database_url) as other:
        other.execute(statement.replace("{schema}", f'"{office.schema}"').encode())
        yield
        other.rollback()


def told_away(response: requests.Response) -> None:
    told = refusal(response, 503, "database_unavailable")
    assert told["error"] == "The database is away or has no room at the moment; nothing was changed."
    assert response.headers["retry-after"] == "5"


CHANGES = {
    "bulk/delete": ("POST", "/api/guilds/{id}/bulk/delete", {"ids": ["b"], "dataType": "accounts"}),
    "bulk/reassign": ("POST", "/api/guilds/{id}/bulk/reassign", {"ids": ["b"], "targetBrandId": "brd_2"}),
    "PATCH": ("PATCH", "/api/v1/accounts/b", {"followers": 7}),
    "DELETE": ("DELETE", "/api/v1/accounts/b", None),
    "bulk update": ("PATCH", "/api/v1/bulk/accounts", {"updates": [{"id": "b", "followers": 7}]}),
    "bulk deletion": ("POST", "/api/v1/bulk/accounts/delete", {"ids": ["b"]}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_whose_connection_is_cut_changes_nothing_and_may_be_repeated(
    office: Office, as_role: Callable[[str], psycopg.Connection], change: tuple[str, str, object]
) -> None:
    method, path, body = change
    path = path.replace("{id}", office.id)
    before, key = office.rows("accounts"), {"Idempotency-Key": "once"}
    row = held(office, "SELECT FROM {schema}.accounts WHERE id = 'b' FOR UPDATE")
    with closing(as_role("stowage_app")) as app, ThreadPoolExecutor(1) as pool, row:
        asking = pool.submit(office.caller().request, method, path, json=body, headers=key)
        cut(app)
        told_away(asking.result())
    assert office.rows("accounts") == before
    assert office.caller().request(method, path, json=body, headers=key).status_code == 200
    assert office.rows("accounts") != before
    assert office.is_gapless()


READS = {
    "list": "/api/v1/accounts",
    "record": "/api/v1/accounts/b",
    "trash": "/api/guilds/{id}/trash",
}


@pytest.mark.parametrize("path", READS.values(), ids=READS)
def test_a_read_whose_connection_is_cut_is_told_so(
    office: Office, as_role: Callable[[str], psycopg.Connection], path: str
) -> None:
    path = path.replace("{id}", office.id)
    table = held(office, "LOCK TABLE {schema}.accounts IN ACCESS EXCLUSIVE MODE")
    with closing(as_role("stowage_app")) as app, ThreadPoolExecutor(1) as pool, table:
        asking = pool.submit(office.caller().get, path)
        cut(app)
        told_away(asking.result())
    assert office.caller().get(path).status_code == 200


def test_a_database_without_room_for_another_connection_is_a_503(
    office: Office, as_role: Callable[[str], psycopg.Connection]
) -> None:
    office.delete("b")
    with closing(as_role("stowage_purge")) as purging:
        office.database.execute("ALTER ROLE stowage_purge CONNECTION LIMIT 0")
        try:
            purging.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
            response = office.caller("admin").delete(office.path("trash/b"))
        finally:
            office.database.execute("ALTER ROLE stowage_purge CONNECTION LIMIT -1")
    refusal(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert "b" in office.rows("accounts")
    assert office.caller("admin").delete(office.path("trash/b")).status_code == 200


# Connections lost while a change is being saved


@pytest.fixture
def waiting_commits(office: Office) -> Iterator[Office]:
    """Commits that change an account wait for whoever holds the lock 4711."""
    office.run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER waits AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    yield office
    office.run("DROP FUNCTION wait() CASCADE")


def test_a_commit_whose_connection_is_cut_claims_nothing(
    waiting_commits: Office, as_role: Callable[[str], psycopg.Connection]
) -> None:
    office, key = waiting_commits, {"Idempotency-Key": "once"}
    body = {"ids": ["a", "b"], "dataType": "accounts"}
    lock = held(office, "SELECT pg_advisory_xact_lock(4711)")
    with closing(as_role("stowage_app")) as app, ThreadPoolExecutor(1) as pool, lock:
        asking = pool.submit(office.caller().post, office.path("bulk/delete"), json=body, headers=key)
        cut(app, "^COMMIT")
        response = asking.result()
    told = refusal(response, 503, "outcome_unknown")
    assert "it may be there or not" in told["error"]
    assert "the same Idempotency-Key" in told["error"]
    assert response.headers["retry-after"] == "5"
    again = office.caller().post(office.path("bulk/delete"), json=body, headers=key)
    assert (again.status_code, again.json()["succeeded"]) == (200, 2)
    assert office.live("accounts") == set()
    assert office.is_gapless()


class CuttingProxy:
    """Passes bytes on between clients and Postgres; while `cutting`, it hangs up instead of passing on what Postgres
    answers to a COMMIT.
    """

    def __init__(self, host: str, port: int) -> None:
        self.cutting = False
        self._server = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        committing = threading.Event()

        def ask() -> None:
            with suppress(OSError):
                while data := client.recv(1 << 16):
                    if self.cutting and b"COMMIT" in data:
                        committing.set()
                    server.sendall(data)
                server.shutdown(socket.SHUT_RDWR)

        with client, socket.create_connection(self._server) as server:
            asking = threading.Thread(target=ask)
            asking.start()
            with suppress(OSError):
                while (data := server.recv(1 << 16)) and not committing.is_set():
                    client.sendall(data)
                client.shutdown(socket.SHUT_RDWR)
            asking.join()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def through_a_proxy(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
    """This process is a function that reaches the database through that proxy."""
    url = urlsplit(office.stack.product_url)
    assert url.hostname
    assert url.port
    proxy = CuttingProxy(url.hostname, url.port)
    with in_process(office.stack):
        monkeypatch.setenv("STOWAGE_DATABASE_URL", url._replace(netloc=f"127.0.0.1:{proxy.port}").geturl())
        settings.cache_clear()
        yield proxy
        monkeypatch.undo()
    proxy.close()


def test_a_commit_whose_answer_is_lost_is_told_by_the_repeated_request(
    office: Office, through_a_proxy: CuttingProxy
) -> None:
    request, edit = DeleteRequest(ids=["a", "nobody"], dataType="accounts"), office.edit(datetime.now(UTC), "once")
    with borrowed("main"):
        pass  # a new connection has a commit of its own
    through_a_proxy.cutting = True
    with pytest.raises(UnavailableError) as caught:
        bulk_delete(edit, request)
    assert caught.value.code == "outcome_unknown"
    assert office.live("accounts") == {"b"}, "it was made all the same"

    through_a_proxy.cutting = False
    again = bulk_delete(edit, request)
    assert again.status == 207
    assert '"id":"a","status":"success"' in again.body, "the kept answer, not `already_deleted`"
    assert len(office.journal(again.body[16:].partition('"')[0])) == 3


@pytest.mark.parametrize("state", ["53100", "53200", "57P03", "58030", "08006", "25006"])
def test_a_database_in_trouble_is_away_also_where_the_connection_lives(
    office: Office, through_a_proxy: CuttingProxy, state: str
) -> None:
    def work(connection: psycopg.Connection) -> None:
        connection.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$".encode())

    for ask in (transact, look):
        with pytest.raises(UnavailableError) as caught:
            ask("main", work)
        assert (caught.value.code, caught.value.retry_after) == ("database_unavailable", 5)


def test_what_no_repetition_would_mend_is_no_503(office: Office, through_a_proxy: CuttingProxy) -> None:
    for ask in (transact, look):
        with pytest.raises(psycopg.errors.UndefinedTable):
            ask("main", lambda connection: connection.execute("TABLE nowhere"), schema=office.schema)


def test_a_transaction_whose_answer_was_lost_is_not_done_twice(stack: RunningStack) -> None:
    """DynamoDB knows it again by its token, so the client's own second try is told that all is well."""
    dynamodb, name = stack.aws("dynamodb"), stack.resources["Table"]
    token = str(uuid4())
    key = {"pk": {"S": "token"}, "sk": {"S": token}}
    put = {"Put": {"TableName": name, "Item": key, "ConditionExpression": "attribute_not_exists(pk)"}}
    for _ in range(2):
        dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken=token)
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken=str(uuid4()))
