"""What may be asked to be exported: each documented bad input is refused, names its field and starts nothing."""

import csv
import io
import json
import re
from typing import Any

import psycopg
import pytest
import requests

from stowage.basics.ids import encode_id
from tests.conftest import Api, RunningStack
from tests.stack.route_surface import caller, completed_export, export_body, fields, refusal, start_export

pytestmark = pytest.mark.usefixtures("direct")

ROUTES = ("/api/guilds/acme2/exports", "/api/v1/guilds/acme2/exports", "/api/guilds/acme2/exports/estimate")

BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"format": "doc"}, "format", "invalid_request"),
    ({"format": None}, "format", "invalid_request"),
    ({"format": ["csv"]}, "format", "invalid_request"),
    ({"mode": "some"}, "mode", "invalid_request"),
    ({"mode": None}, "mode", "invalid_request"),
    ({"dataType": "secrets"}, "dataType", "unknown_data_type"),
    ({"dataType": "accounts; DROP TABLE accounts"}, "dataType", "unknown_data_type"),
    ({"dataType": "pg_catalog.pg_authid"}, "dataType", "unknown_data_type"),
    ({"dataType": 7}, "dataType", "invalid_request"),
    ({"dataType": None}, "dataType", "invalid_request"),
    ({"datatype": "accounts"}, "datatype", "invalid_request"),
    ({"tenant": "globex"}, "tenant", "invalid_request"),
    ({"filters": []}, "filters", "invalid_request"),
    ({"filters": {"createdBefore": "9999-12-31T23:59:59-23:59"}}, "filters.createdBefore", "invalid_filter"),
    ({"filters": {"createdAfter": "0001-01-01T00:00:00+23:59"}}, "filters.createdAfter", "invalid_filter"),
    ({"filters": "platform=x"}, "filters", "invalid_request"),
    ({"filters": {"password": "x"}}, "filters.password", "invalid_filter"),
    ({"filters": {"deletedAt": "2026-01-01"}}, "filters.deletedAt", "invalid_filter"),
    ({"filters": {"platform; --": "x"}}, "filters.platform; --", "invalid_filter"),
    ({"filters": {"followers": "many"}}, "filters.followers", "invalid_filter"),
    ({"filters": {"createdAfter": "yesterday"}}, "filters.createdAfter", "invalid_filter"),
    ({"filters": {"search": ["a", "b"]}}, "filters.search", "invalid_filter"),
    ({"filters": {"search": "a\0b"}}, "filters.search", "invalid_filter"),
    ({"filters": {"createdAt": {"gte": "2026-01-01"}}}, "filters.createdAt", "invalid_filter"),
    ({"filters": {"username": ["a", [1]]}}, "filters.username", "invalid_filter"),
    ({"filters": {"username": 1e300}}, "filters.username", "invalid_filter"),
    ({"filters": {"username": 1e-200}}, "filters.username", "invalid_filter"),
    ({"filters": {"followers": -(10**38)}}, "filters.followers", "invalid_filter"),
    ({"dataType": "tasks", "filters": {"status": "done"}}, "filters.status", "invalid_filter"),
    ({"dataType": "gdpr", "filters": {"platform": "x"}}, "filters", "invalid_request"),
    ({"filename": ""}, "filename", "invalid_request"),
    ({"filename": "a" * 121}, "filename", "invalid_request"),
    ({"filename": "../../etc/passwd"}, "filename", "invalid_request"),
    ({"filename": "a\\b"}, "filename", "invalid_request"),
    ({"filename": "a\nb"}, "filename", "invalid_request"),
    ({"filename": "a\0b"}, "filename", "invalid_request"),
    ({"filename": "a\x7fb"}, "filename", "invalid_request"),
    ({"filename": "a\x85b"}, "filename", "invalid_request"),
    ({"filename": "a\u2028b"}, "filename", "invalid_request"),
    ({"filename": ".."}, "filename", "invalid_request"),
    ({"filename": " "}, "filename", "invalid_request"),
    ({"filename": 7}, "filename", "invalid_request"),
]


def total(api: Api) -> int:
    return int(api.get("/api/guilds/acme2/exports?limit=1").json()["pagination"]["total"])


def remaining(api: Api) -> dict[str, int]:
    quota = api.get("/api/guilds/acme2/exports?limit=1").json()["quota"]
    return {name: use["remaining"] for name, use in quota.items()}


@pytest.mark.parametrize(("given", "field", "code"), BAD_FIELDS, ids=lambda value: str(value)[:40])
def test_a_bad_field_is_refused_by_name(given: dict[str, Any], field: str, code: str, admin: Api) -> None:
    before = total(admin), remaining(admin)
    bodies = [refusal(admin.post(route, json=export_body(**given)), 400, code) for route in ROUTES]
    assert fields(bodies[0])[0] == field
    assert not {"[", "<"} & set(bodies[0]["error"]), "words for a person"
    assert bodies[0] == bodies[1] == bodies[2]
    assert (total(admin), remaining(admin)) == before


def test_all_bad_fields_are_told_at_once(admin: Api) -> None:
    given = {"format": "doc", "mode": "x", "filename": "a/b", "surprise": 1}
    body = refusal(admin.post(ROUTES[0], json=given), 400, "invalid_request")
    assert sorted(fields(body)) == ["dataType", "filename", "format", "mode", "surprise"]
    assert body["detailCount"] == 5


def test_a_hundred_details_are_told_and_the_rest_counted(admin: Api) -> None:
    given = export_body(filters={f"no{n}": "x" for n in range(150)})
    body = refusal(admin.post(ROUTES[0], json=given), 400, "invalid_filter")
    assert (len(body["details"]), body["detailCount"]) == (100, 150)


def test_an_unknown_data_type_is_told_which_there_are(admin: Api) -> None:
    body = refusal(admin.post(ROUTES[0], json=export_body(dataType="x")), 400, "unknown_data_type")
    for name in ("accounts", "posts", "tasks", "brands", "groups", "users", "audit", "gdpr"):
        assert name in body["error"]


@pytest.mark.parametrize(
    "body", ["", "nope", "{", "[]", '[{"format": "csv"}]', "null", "7", '"csv"', '{"format": "csv"']
)
def test_a_body_that_is_no_json_object_is_refused(body: str, admin: Api) -> None:
    response = admin.post(ROUTES[0], data=body.encode(), headers={"content-type": "application/json"})
    assert refusal(response, 400, "invalid_request")["error"] in ("Send a JSON object.", "The body is not JSON.")


@pytest.mark.parametrize("lone", ['{"format": "csv", "mode": "all", "dataType": "accounts", "filename": "\\ud800"}'])
def test_half_a_character_is_refused(lone: str, admin: Api) -> None:
    response = admin.post(ROUTES[0], data=lone, headers={"content-type": "application/json"})
    assert fields(refusal(response, 400, "invalid_request")) == [""], "it is no JSON"


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON", "application/json; charset=UTF-8", "Application/Json;"])
def test_json_is_taken_however_its_type_is_written(content_type: str, admin: Api) -> None:
    response = admin.post(
        f"{ROUTES[0]}/estimate", data=json.dumps(export_body()), headers={"content-type": content_type}
    )
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_content_type_than_json_is_refused(content_type: str, admin: Api) -> None:
    before = total(admin)
    for data in (json.dumps(export_body()), "format=csv&mode=all&dataType=accounts"):
        response = admin.post(ROUTES[0], data=data, headers={"content-type": content_type})
        assert refusal(response, 415, "unsupported_media_type")["error"] == "Send JSON, in UTF-8."
    assert total(admin) == before


def test_json_may_come_with_a_charset(admin: Api) -> None:
    body = json.dumps(export_body(dataType="brands")).encode()
    response = admin.post(ROUTES[0], data=body, headers={"content-type": "application/json; charset=utf-8"})
    assert response.status_code == 202


def test_a_body_over_four_and_a_half_megabytes_is_refused_with_the_alternative(admin: Api) -> None:
    before = total(admin)
    body = json.dumps(export_body(filters={"search": "a" * 4_500_000}))
    response = admin.post(ROUTES[0], data=body, headers={"content-type": "application/json"})
    assert "upload" in refusal(response, 413, "too_large")["error"]
    assert total(admin) == before


def test_filters_larger_than_a_record_are_refused_with_the_alternative(admin: Api) -> None:
    before = total(admin)
    for route in ROUTES:
        response = admin.post(route, json=export_body(filters={"ids": [f"acc_{n:07}" for n in range(40_000)]}))
        assert "in parts" in refusal(response, 413, "too_large")["error"]
    assert total(admin) == before


@pytest.mark.parametrize("query", ["?format=csv", "?dryRun=true", "?page=1"])
def test_a_query_parameter_is_refused(query: str, admin: Api) -> None:
    before = total(admin)
    body = refusal(admin.post(ROUTES[0] + query, json=export_body()), 400, "invalid_request")
    assert fields(body) == [query[1:].partition("=")[0]]
    assert total(admin) == before


@pytest.mark.parametrize("data_type", ["accounts", "posts", "tasks", "brands", "groups", "users", "audit", "gdpr"])
def test_every_data_type_can_be_exported(data_type: str, admin: Api, database: psycopg.Connection) -> None:
    record = completed_export(admin, dataType=data_type)
    file = requests.get(record["downloadUrl"], timeout=20).content
    if data_type == "gdpr":
        assert record["filename"].endswith(".zip")
        assert file.startswith(b"PK")
    elif data_type == "audit":
        assert record["recordCount"] > 0
    else:
        [live] = database.execute(f"SELECT count(*) FROM tenant_acme2.{data_type} WHERE deleted_at IS NULL").fetchone()
        assert (record["recordCount"], len(rows_of(file))) == (live, live)


@pytest.mark.parametrize("format", ["csv", "json", "ndjson", "xlsx", "parquet"])
def test_every_format_carries_its_extension_and_type(format: str, admin: Api) -> None:
    record = completed_export(admin, format=format, dataType="brands")
    assert record["filename"].endswith(f".{format}")
    response = requests.get(record["downloadUrl"], timeout=20)
    expected = {
        "csv": "text/csv",
        "json": "application/json",
        "ndjson": "application/x-ndjson",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "parquet": "application/vnd.apache.parquet",
    }[format]
    assert response.headers["content-type"].split(";")[0] == expected
    assert len(response.content) > 0


@pytest.mark.parametrize("data_type", ["audit", "gdpr"])
def test_what_holds_the_audit_log_is_neither_exported_nor_estimated_for_operators(
    data_type: str, operator: Api, admin: Api
) -> None:
    before = total(operator), remaining(operator)
    body = export_body(dataType=data_type)
    for route in ROUTES:
        refusal(operator.post(route, json=body), 403, "role_too_low")
    assert (total(operator), remaining(operator)) == before
    assert admin.post(ROUTES[-1], json=body).status_code == 200


def rows_of(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode(), newline="")))


def exported_ids(api: Api, tenant: str, **given: Any) -> set[str]:
    record = completed_export(api, tenant, **given)
    ids = {row["id"] for row in rows_of(requests.get(record["downloadUrl"], timeout=20).content)}
    assert len(ids) == record["recordCount"]
    return ids


@pytest.mark.parametrize("mode", ["all", "current_view"])
def test_filters_that_are_given_apply_in_either_mode(mode: str, admin: Api, database: psycopg.Connection) -> None:
    wanted = database.execute(
        "SELECT id FROM tenant_acme2.accounts WHERE platform IN ('tiktok', 'youtube') AND deleted_at IS NULL"
    ).fetchall()
    filters = {"platform": "tiktok,youtube", "brandId": None, "search": "", "groupId": []}
    assert exported_ids(admin, "acme2", mode=mode, filters=filters) == {id_ for (id_,) in wanted}


@pytest.mark.parametrize(
    ("mode", "filters"),
    [
        ("all", None),
        ("current_view", None),
        ("current_view", {}),
        ("all", {"platform": ""}),
        ("all", {"platform": None}),
    ],
    ids=str,
)
def test_no_filters_mean_every_row_that_is_not_in_the_trash(mode: str, filters: Any, admin: Api) -> None:
    assert completed_export(admin, mode=mode, filters=filters)["recordCount"] == 97


def test_ids_that_are_urls_are_taken_in_either_form(admin: Api, database: psycopg.Connection) -> None:
    rows = database.execute(
        "SELECT id FROM tenant_globex.posts WHERE id LIKE 'https://%' AND deleted_at IS NULL ORDER BY id LIMIT 4"
    ).fetchall()
    urls = [url for (url,) in rows]
    encoded = [encode_id(url) for url in urls]
    assert len(urls) == 4
    assert all(form.startswith("~") for form in encoded)
    assert exported_ids(admin, "globex", dataType="posts", filters={"ids": urls}) == set(urls)
    assert exported_ids(admin, "globex", dataType="posts", filters={"ids": encoded}) == set(urls)
    assert exported_ids(admin, "globex", dataType="posts", filters={"ids": [urls[0], encoded[1]]}) == set(urls[:2])
    assert exported_ids(admin, "globex", dataType="posts", filters={"ids": ",".join(encoded)}) == set(urls)


def test_the_same_request_on_either_mount_is_the_same_export(admin: Api) -> None:
    response = admin.post("/api/v1/guilds/acme2/exports", json=export_body(dataType="users"))
    assert response.status_code == 202
    export_id = response.json()["id"]
    assert response.headers["location"].endswith(f"/guilds/acme2/exports/{export_id}")
    assert admin.get(response.headers["location"]).json()["id"] == export_id
    for mount in ("/api", "/api/v1"):
        assert admin.get(f"{mount}/guilds/acme2/exports/{export_id}").json()["id"] == export_id


def test_an_accepted_export_is_the_bare_record_with_quotas(stack: RunningStack) -> None:
    with caller(stack, role="operator") as operator:
        response = operator.post(ROUTES[0], json=export_body(mode="current_view", filename="Q1 – accounts"))
    assert response.status_code == 202
    assert response.headers["retry-after"] == "2"
    record = response.json()
    assert set(record) == {
        "id", "format", "mode", "dataType", "status", "filename", "recordCount", "progress", "downloadUrl", "expiresAt",
        "errorMessage", "createdAt", "completedAt", "quota",
    }  # fmt: skip
    assert {name: record[name] for name in ("format", "mode", "dataType", "status", "filename", "progress")} == {
        "format": "csv",
        "mode": "current_view",
        "dataType": "accounts",
        "status": "pending",
        "filename": "Q1 – accounts.csv",
        "progress": 0,
    }
    assert [record[name] for name in ("recordCount", "downloadUrl", "expiresAt", "errorMessage", "completedAt")] == [
        None
    ] * 5
    assert record["createdAt"].endswith("Z")
    assert set(record["quota"]) == {"standard", "gdpr"}
    assert set(record["quota"]["standard"]) == {"limit", "remaining", "resetAt"}


@pytest.mark.parametrize(
    ("data_type", "format", "filename", "saved"),
    [
        ("accounts", "csv", None, r"initech-accounts-\d{4}-\d\d-\d\d\.csv"),
        ("gdpr", "ndjson", None, r"initech-gdpr-\d{4}-\d\d-\d\d\.zip"),
        ("accounts", "csv", "report.csv", r"report\.csv"),
        ("accounts", "csv", "report.CSV", r"report\.CSV"),
        ("accounts", "json", "report.csv", r"report\.csv\.json"),
        ("gdpr", "csv", "mine", r"mine\.zip"),
        ("accounts", "csv", "a" * 120, "a{120}\\.csv"),
    ],
)
def test_a_file_has_a_name_and_the_right_extension(
    data_type: str, format: str, filename: str | None, saved: str, admin: Api
) -> None:
    record = start_export(admin, "initech", dataType=data_type, format=format, filename=filename)
    assert re.fullmatch(saved, record["filename"])
