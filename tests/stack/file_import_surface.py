"""What the tests of file imports share: files made and uploaded, imports started and followed, results fetched."""

import csv
import io
import json
import time
from typing import Any
from uuid import uuid4

import jwt
import openpyxl
import psycopg
import requests
from psycopg import sql
from psycopg.rows import dict_row

from stowage.entities.declared import ENTITIES
from tests.conftest import Api, RunningStack
from tests.faults.run_surface import FINAL, eventually

type Json = Any
type Rows = list[dict[str, Any]]

TENANT = "acme_x"


def csv_file(*lines: str) -> bytes:
    """Lines as a CSV file."""
    return "".join(f"{line}\r\n" for line in lines).encode()


def ndjson_file(*rows: Json) -> bytes:
    """Objects (or texts, as they are) as an NDJSON file."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def xlsx_file(*rows: list[Any], more: dict[str, list[list[Any]]] | None = None) -> bytes:
    """Rows as a workbook, as openpyxl writes it: shared texts, dates by style. `more` are further sheets."""
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    for name, content in (more or {}).items():
        sheet = book.create_sheet(name)
        for row in content:
            sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    book.close()
    return data.getvalue()


def ask(api: Api, entity: str, type: str, size: int, tenant: str = TENANT, **given: Json) -> requests.Response:
    """Ask for an import."""
    body = {"filename": f"{entity}.{type}", "size": size, "type": type} | given
    return api.post(f"/api/v1/import/{entity}/file", json=body, headers={"X-Tenant-Id": tenant})


def upload(form: Json, data: bytes) -> requests.Response:
    """Put a file where a form says, as a browser does."""
    return requests.post(form["url"], data=form["fields"], files={"file": ("file", data)}, timeout=30)


def start(api: Api, entity: str, import_id: str, **options: Any) -> requests.Response:
    """Start an import."""
    return api.post(f"/api/v1/import/{entity}/file/{import_id}/start", json={}, **options)


def uploaded(api: Api, entity: str, type: str, data: bytes, tenant: str = TENANT, **given: Json) -> str:
    """An import whose file is there, not started yet."""
    answer = ask(api, entity, type, len(data), tenant, **given)
    assert answer.status_code == 201, answer.text
    asked = answer.json()["data"]
    put = upload(asked["upload"], data)
    assert put.status_code == 204, put.text
    return str(asked["id"])


def started(api: Api, entity: str, type: str, data: bytes, tenant: str = TENANT, **given: Json) -> str:
    """The id of an import that was accepted."""
    import_id = uploaded(api, entity, type, data, tenant, **given)
    answer = start(api, entity, import_id)
    assert answer.status_code == 202, answer.text
    return import_id


def ended(api: Api, import_id: str, seconds: float = 60) -> Json:
    """The job once it has ended."""

    def look() -> Json | None:
        job = api.get(f"/api/jobs/{import_id}").json()["data"]
        return job if job["status"] in FINAL else None

    return eventually(look, f"the end of import {import_id}", seconds)


def imported(api: Api, entity: str, type: str, data: bytes, tenant: str = TENANT, **given: Json) -> Json:
    """The result of an import that has completed."""
    job = ended(api, started(api, entity, type, data, tenant, **given))
    assert job["status"] == "completed", job
    return job["result"]


def counts(result: Json) -> dict[str, int]:
    """What became of the rows, without what did not happen."""
    return {name: result[name] for name in ("created", "updated", "skipped", "failed") if result[name]}


def fetched(result: Json, name: str) -> bytes:
    """A result file's bytes, by its link, without credentials."""
    answer = requests.get(result["files"][name], timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.content


def result_rows(result: Json, name: str) -> Rows:
    """A CSV result file's rows; an empty cell is None, `""` an empty text."""
    reader = csv.reader(io.StringIO(fetched(result, name).decode(), newline=""), quoting=csv.QUOTE_NOTNULL, strict=True)
    header, *rows = reader
    return [dict(zip(header, row, strict=True)) for row in rows]


def records(database: psycopg.Connection, entity: str, where: str = "true", tenant: str = TENANT) -> Rows:
    """An entity's rows as the database holds them, by the fields' names, in the order of ids."""
    declared = ENTITIES[entity]
    names = [
        sql.SQL("{} AS {}").format(sql.Identifier(field.column), sql.Identifier(field.name))
        for field in declared.fields
    ]
    statement = sql.SQL('SELECT {} FROM {} WHERE deleted_at IS NULL AND {} ORDER BY id COLLATE "C"').format(
        sql.SQL(", ").join(names), sql.Identifier(f"tenant_{tenant}", declared.table), sql.SQL(where)
    )
    with database.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement).fetchall()


def journal(stack: RunningStack, tenant: str, operation: str) -> Rows:
    """What the journal tells of an operation, in order."""
    url = stack.url_as("stowage_app")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT seq, entity, id, type, before, after, actor FROM stowage.changes"
            " WHERE tenant = %s AND operation = %s ORDER BY seq",
            (tenant, operation),
        ).fetchall()


def mover_token(stack: RunningStack) -> str:
    """A token for an admin of every tenant under a name of their own."""
    claims = {"sub": f"{uuid4()}@example.com", "role": "admin", "tenants": ["*"], "exp": int(time.time()) + 3600}
    return jwt.encode(claims, stack.signing_key, algorithm="HS256")
