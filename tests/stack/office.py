"""A tenant of a test's own in the running stack: its records made by SQL, its callers, and looks at its rows."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest import mock
from uuid import uuid4

import jwt
import psycopg
from psycopg import sql

from stowage.access.identity import Role
from stowage.aws.clients import dynamodb
from stowage.postgres.session.connection import _kept
from stowage.postgres.session.edit import Edit
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.conftest import Api, RunningStack
from tests.stack import spare_schemas

type Json = Any

TRASH = "deleted_at"


@dataclass
class Office:
    """A tenant with two brands, a group in each, and whatever a test adds."""

    stack: RunningStack
    database: psycopg.Connection
    id: str
    callers: list[Api] = field(default_factory=list)
    is_known: bool = True

    @property
    def schema(self) -> str:
        return f"tenant_{self.id}"

    @property
    def app_url(self) -> str:
        return self.stack.url_as("stowage_app")

    def caller(self, role: str = "operator", tenants: Iterable[str] | None = None, **claims: Json) -> Api:
        """The HTTP API for somebody of that role."""
        self.make_known()
        given = {"sub": f"{role}@{self.id}", "role": role, "exp": int(time.time()) + 3600} | claims
        given["tenants"] = list(tenants) if tenants is not None else [self.id]
        api = Api(self.stack.api_url, jwt.encode(given, self.stack.signing_key, algorithm="HS256"))
        self.callers.append(api)
        return api

    def make_known(self) -> None:
        """Let the functions know of it, who read a copy of the registry."""
        if not self.is_known:
            self.stack.invoke("CopyRegistryFunction")
            self.is_known = True

    def path(self, path: str, mount: str = "/api/guilds") -> str:
        return f"{mount}/{self.id}/{path}"

    def run(self, statement: str, *given: Json) -> list[tuple[Any, ...]]:
        """Run SQL of the tenant's own, with its schema as the search path."""
        with self.database.transaction():
            self.database.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(self.schema)))
            cursor = self.database.execute(statement.encode(), given)
            return cursor.fetchall() if cursor.description else []

    def accounts(self, *ids: str, brand: str = "brd_1", group: str | None = "grp_1") -> list[str]:
        """Make these accounts; a username each."""
        self.run(
            "INSERT INTO accounts (id, username, platform, brand_id, group_id, updated_at) "
            "SELECT id, 'user ' || id, 'x', %s, %s, '2024-05-06 07:08:09.123456+00' FROM unnest(%s::text[]) AS id",
            brand,
            group,
            list(ids),
        )
        return list(ids)

    def posts(self, account: str, *ids: str) -> list[str]:
        """Make these posts of an account; a url each."""
        self.run(
            "INSERT INTO posts (id, account_id, url) "
            "SELECT id, %s, 'https://x.example/' || id FROM unnest(%s::text[]) AS id",
            account,
            list(ids),
        )
        return list(ids)

    def rows(self, table: str) -> dict[str, Json]:
        """Every row of a table, whole, by id."""
        return {row["id"]: row for (row,) in self.run(f"SELECT to_jsonb(t) FROM {table} t")}

    def bin(self, table: str, which: str = "true", until: str = "now()") -> None:
        """Put rows into the trash, until that moment, as Stowage leaves them there."""
        self.run(f"UPDATE {table} SET deleted_at = now() WHERE deleted_at IS NULL AND {which}")
        self.run(
            "INSERT INTO stowage.trash_entries (tenant, entity, id, mark, deleted_at, purge_at) "
            f"SELECT %s, %s, id, deleted_at, deleted_at, {until} FROM {table} WHERE {which} "
            "ON CONFLICT (tenant, entity, id) DO UPDATE SET mark = excluded.mark, purge_at = excluded.purge_at",
            self.id,
            table,
        )

    def keep(self, table: str, until: str, which: str = "true") -> None:
        """Let the trash keep rows until another moment."""
        self.run(
            f"UPDATE stowage.trash_entries SET purge_at = {until} WHERE tenant = %s AND entity = %s AND {which}",
            self.id,
            table,
        )

    def kept(self, table: str) -> dict[str, Json]:
        """What the trash knows of a table's rows, by id."""
        rows = self.run(
            "SELECT to_jsonb(t) FROM stowage.trash_entries t WHERE tenant = %s AND entity = %s", self.id, table
        )
        return {row["id"]: row for (row,) in rows}

    def live(self, table: str) -> set[str]:
        return {row_id for row_id, row in self.rows(table).items() if row["deleted_at"] is None}

    def journal(self, operation: str) -> list[Json]:
        """The entries of an operation, in their order."""
        with psycopg.connect(self.app_url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT entity, id, type, before, after, actor FROM stowage.changes "
                "WHERE tenant = %s AND operation = %s ORDER BY seq",
                (self.id, operation),
            ).fetchall()
        names = ("entity", "id", "type", "before", "after", "actor")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def is_gapless(self) -> bool:
        """Whether the journal's numbers have neither gaps nor twins."""
        with psycopg.connect(self.app_url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(max(seq), 0) FROM stowage.changes WHERE tenant = %s", (self.id,)
            ).fetchone()
        assert row is not None
        return bool(row[0] == row[1])

    def delete(self, *ids: str, data_type: str = "accounts", status: int = 200) -> Json:
        """Delete in bulk, as an operator."""
        response = self.caller().post(self.path("bulk/delete"), json={"ids": list(ids), "dataType": data_type})
        assert response.status_code == status, response.text
        return response.json()

    def undo(self, operation: str, status: int = 200) -> Json:
        """Undo an operation, as an operator."""
        response = self.caller().post(self.path("bulk/undo"), json={"operationId": operation})
        assert response.status_code == status, response.text
        return response.json()

    def trash(self, **query: Json) -> Json:
        """A page of the trash, as a viewer."""
        response = self.caller("viewer").get(self.path("trash"), params=query)
        assert response.status_code == 200, response.text
        return response.json()

    @property
    def tenant(self) -> Tenant:
        """The tenant as the use cases know it."""
        return Tenant(self.id, self.id, "An office")

    def edit(self, at: datetime, key: str | None = None, role: Role = "admin") -> Edit:
        """An operation of the test's own, for use cases that are called in this process."""
        return Edit(self.tenant, "me", role, at, key)

    def close(self) -> None:
        """Close its callers and remove the tenant."""
        for api in self.callers:
            api.close()
        spare_schemas.remove_tenant(self.database, self.id)


def open_office(stack: RunningStack, database: psycopg.Connection, *, is_known: bool = True) -> Office:
    """Make the tenant, and let the functions know of it: now, or when it is first asked for a caller,
    where a file calls use cases in this process.
    """
    name = f"office_{uuid4().hex[:10]}"
    spare_schemas.make_tenant(database, name, "An office")
    office = Office(stack, database, name, is_known=False)
    if is_known:
        office.make_known()
    office.run(
        "INSERT INTO brands (id, label) VALUES ('brd_1', 'One'), ('brd_2', 'Two');"
        "INSERT INTO groups (id, brand_id, label) VALUES ('grp_1', 'brd_1', 'A'), ('grp_2', 'brd_2', 'B')"
    )
    return office


@contextmanager
def in_process(stack: RunningStack) -> Iterator[None]:
    """Let this process call use cases of its own as a function of the stack would."""
    environment = {
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STOWAGE_TABLE": stack.resources["Table"],
        "STOWAGE_EXPORTS_BUCKET": stack.resources["ExportsBucket"],
        "STOWAGE_BACKUPS_BUCKET": stack.resources["BackupsBucket"],
        "STOWAGE_DATABASE_URL": stack.product_url,
    }
    with mock.patch.dict(os.environ, environment):
        settings.cache_clear()
        dynamodb.cache_clear()
        try:
            yield
        finally:
            dynamodb().close()
            dynamodb.cache_clear()
            settings.cache_clear()
            while _kept:
                _kept.popitem()[1].close()


def refusal(response: Any, status: int, code: str) -> Json:
    """The body of a refusal of the contract's one shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["success"] is False
    assert body["code"] == code
    assert isinstance(body["error"], str)
    assert body["requestId"]
    return body


def codes(result: Json) -> dict[str, str | None]:
    """What became of each id of a bulk result."""
    assert result["total"] == len(result["results"])
    assert result["succeeded"] == sum(item["status"] == "success" for item in result["results"])
    assert result["failed"] == result["total"] - result["succeeded"]
    for item in result["results"]:
        expected = {"id", "status"} if item["status"] == "success" else {"id", "status", "error", "code"}
        assert set(item) == expected
    return {item["id"]: item.get("code") for item in result["results"]}
