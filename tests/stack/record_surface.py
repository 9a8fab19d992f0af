"""What the tests of record routes share: a tenant of their own, its callers, its journal."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import psycopg
import requests
from psycopg.rows import dict_row

from local.sample.rows import Sizes
from local.sample.tenants import SampleTenant, is_registered, make
from stowage.aws.clients import dynamodb
from stowage.postgres.session.connection import _kept
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.conftest import Api, RunningStack

type Json = Any

SLUG, SCHEMA = "records", "tenant_records"
_TENANT = SampleTenant(SLUG, "Records", Sizes())


@dataclass
class RecordApi:
    """The record routes of the tests' tenant, for callers of any role."""

    stack: RunningStack
    key: str
    opened: list[Api] = field(default_factory=list)

    def caller(self, role: str = "operator", tenants: tuple[str, ...] = (SLUG,), sub: str = "rae@example.com") -> Api:
        """Somebody with that role, who needs no X-Tenant-Id having but one tenant."""
        claims = {"sub": sub, "role": role, "tenants": list(tenants), "exp": int(time.time()) + 3600}
        self.opened.append(Api(self.stack.api_url, jwt.encode(claims, self.key, algorithm="HS256")))
        return self.opened[-1]

    @property
    def operator(self) -> Api:
        """An operator."""
        return self.caller()

    def make(self, entity: str, **fields: Json) -> Json:
        """A new record."""
        return data(self.operator.post(f"/api/v1/{entity}", json=fields), 201)

    def brand(self) -> str:
        """The id of a new brand."""
        return str(self.make("brands", label=f"Brand {uuid4()}")["id"])

    def group(self, brand: str) -> str:
        """The id of a new group of that brand."""
        return str(self.make("groups", label=f"Group {uuid4()}", brandId=brand)["id"])

    def account(self, brand: str, **fields: Json) -> Json:
        """A new account of that brand."""
        return self.make("accounts", **{"username": f"u{uuid4()}", "platform": "x", "brandId": brand} | fields)

    def read(self, entity: str, record_id: str) -> Json:
        """A record as it is."""
        return data(self.operator.get(f"/api/v1/{entity}/{record_id}"))

    def journal(self, **wanted: str) -> list[Json]:
        """The journal's rows with these columns, in their order."""
        with self.database() as connection, connection.cursor(row_factory=dict_row) as cursor:
            where = " AND ".join(f"{name} = %({name})s" for name in wanted)
            cursor.execute(f"SELECT * FROM stowage.changes WHERE tenant = '{SLUG}' AND {where} ORDER BY seq", wanted)
            return cursor.fetchall()

    @contextmanager
    def database(self, role: str = "stowage_app") -> Iterator[psycopg.Connection]:
        """A connection as the application's role."""
        url = self.stack.url_as(role)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    def seqs(self) -> int:
        """How many rows the journal has, which every write raises."""
        with self.database() as connection:
            row = connection.execute(f"SELECT count(*) FROM stowage.changes WHERE tenant = '{SLUG}'").fetchone()
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        """Close what was opened."""
        for api in self.opened:
            api.close()


def record_api(stack: RunningStack) -> RecordApi:
    """The routes for the tests' tenant, which is made where it is missing."""
    with psycopg.connect(stack.database_url, autocommit=True) as owner:
        if not is_registered(owner, SLUG):
            make(owner, _TENANT, _TENANT.sizes)
    stack.invoke("CopyRegistryFunction")
    return RecordApi(stack, stack.signing_key)


def data(response: requests.Response, status: int = 200) -> Json:
    """The data of an answer of that status."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["success"] is True
    return body["data"]


def refused(response: requests.Response, status: int, code: str) -> Json:
    """The body of a refusal."""
    assert response.status_code == status, response.text
    body = response.json()
    assert (body["success"], body["code"]) == (False, code), body
    assert body["error"].endswith(".")
    assert "psycopg" not in response.text
    return body


def complaints(body: Json) -> dict[str, str]:
    """The messages of a refusal by field."""
    return {detail["field"]: detail["message"] for detail in body["details"]}


@contextmanager
def in_this_process(stack: RunningStack) -> Iterator[Tenant]:
    """The product's own code runs in this process against the stack's database; its tenant."""
    before = dict(os.environ)
    resources = stack.resources
    os.environ |= {
        "STOWAGE_TABLE": resources["Table"],
        "STOWAGE_EXPORTS_BUCKET": resources["ExportsBucket"],
        "STOWAGE_BACKUPS_BUCKET": resources["BackupsBucket"],
        "STOWAGE_DATABASE_URL": stack.product_url,
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    settings.cache_clear()
    dynamodb.cache_clear()
    try:
        yield Tenant(SLUG, SLUG, "Records")
    finally:
        for connection in _kept.values():
            connection.close()
        _kept.clear()
        dynamodb().close()
        dynamodb.cache_clear()
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


def statements(work: Callable[[], object], folder: Path) -> int:
    """How many statements this process's kept connection sends while work is done, by libpq's own trace."""
    (connection,) = _kept.values()
    trace = folder / f"trace-{uuid4()}"
    with trace.open("wb") as file:
        connection.pgconn.trace(file.fileno())
        work()
        connection.pgconn.untrace()
    lines = trace.read_text(errors="replace").splitlines()
    return sum("\tF\t" in line and ("\tQuery\t" in line or "\tExecute\t" in line) for line in lines)
