"""The API's document: fresh, valid, small, and no route without its description."""

import ast
import gzip
import importlib
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import jsonschema_rs
import openapi_spec_validator
import pytest
from pydantic import TypeAdapter, ValidationError, create_model

from local.openapi import BASE, DOCUMENT, EXAMPLES, ROUTES, Route, build_base, files, read_routes
from local.reference import REFERENCE, reference
from stowage.entities.declared import ENTITIES
from stowage.entry import document
from stowage.entry.document.entities import schemas_of
from stowage.records.models import changed_record, new_record
from tests import documented
from tests.structure.repository import FUNCTIONS, relative

type Json = Any

MOST_GZIPPED = 1_000_000
HANDLERS = sorted({route.module for route in read_routes()})
HEADER_OF = {
    "caller.idempotency_key": "Idempotency-Key",
    "answer.status": "Idempotency-Key",
    "answer_batch(": "Idempotency-Key",
    "answer_graphql(": "Idempotency-Key",
    '"if-match"': "If-Match",
    '"if-none-match"': "If-None-Match",
    '"last-event-id"': "Last-Event-ID",
    "caller.tenant_named(": "X-Tenant-Id",
    "caller.tenant_ids(": "X-Tenant-Id",
    "caller.tenants_spanned(": "X-Tenant-Id",
    "caller.has": "If-None-Match",
    "visitor.has(": "If-None-Match",
    "show(visitor,": "If-None-Match",
}
"""How a handler's source shows that it reads a header: a use case that keeps its answer reads the key."""


base = cache(build_base)
"""The document as the code describes it, put together once for all tests."""


@cache
def committed() -> Json:
    return json.loads(DOCUMENT.read_text())


def operations(found: Json) -> dict[str, Json]:
    """Each operation by its route."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    }


def test_what_is_committed_is_what_the_command_writes() -> None:
    written = files()
    assert {BASE, DOCUMENT, ROUTES} == {*written}
    for path, text in written.items():
        assert path.read_text() == text, f"{relative(path)}: make openapi writes it anew"


def test_the_reference_is_what_its_command_writes() -> None:
    assert REFERENCE.read_text() == reference(), "make reference writes it anew"


def test_the_documents_are_valid() -> None:
    openapi_spec_validator.validate(committed())
    openapi_spec_validator.validate(json.loads(document.served()[0]))


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    assert {*operations(base())} == {route.key for route in read_routes()}
    expanded = {route.key.replace("{entity}", entity) for route in read_routes() for entity in ENTITIES}
    assert {*operations(committed())} == expanded


@pytest.mark.parametrize("route", read_routes(), ids=lambda route: route.key)
def test_a_route_says_what_it_answers(route: Route) -> None:
    operation = operations(base())[route.key]
    assert operation["summary"].endswith("."), "the docstring of its function"
    successes = [status for status in operation["responses"] if status.isdigit() and int(status) < 400]
    assert successes, f"{route.module}: http_app(answers=…), or a return type"
    for status in successes:
        answer = operation["responses"][status]
        assert "content" in answer or status in ("204", "302", "304"), f"{route.module}: {status} has no body"


@pytest.mark.parametrize("module", HANDLERS)
def test_a_handler_declares_the_headers_that_it_reads(module: str) -> None:
    source = (FUNCTIONS / f"{module.replace('.', '/')}.py").read_text()
    used = {header for text, header in HEADER_OF.items() if text in source}
    assert set(importlib.import_module(module).app.description.reads) == used


@pytest.mark.parametrize("module", HANDLERS)
def test_a_handler_that_puts_its_answer_together_declares_its_types(module: str) -> None:
    tree = ast.parse((FUNCTIONS / f"{module.replace('.', '/')}.py").read_text())
    made = {
        keyword.arg or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "http_app"
        for keyword in node.keywords
    }
    returns = [
        ast.unparse(node.returns) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.returns
    ]
    by_hand = any(each.startswith("Response") for each in returns)
    assert by_hand == ("answers" in made)
    source = ast.unparse(tree)
    assert ("RawBody" in source) == ("body" in made)
    assert ("open_query" in made) == ("query" in made)


def test_operations_have_names_of_their_own() -> None:
    named = Counter(operation["operationId"] for operation in operations(committed()).values())
    assert [name for name, count in named.items() if count > 1] == []


def test_no_two_types_of_the_document_have_the_same_name() -> None:
    """Pydantic calls two classes of one name by their modules, and a type with two faces Input and Output."""
    names = base()["components"]["schemas"]
    assert [name for name in names if "__" in name or name.endswith(("-Input", "-Output"))] == []


def test_every_part_of_the_document_is_used() -> None:
    found = committed()
    text = json.dumps(found)
    for kind, parts in found["components"].items():
        if kind != "securitySchemes":
            unused = [name for name in parts if f'"#/components/{kind}/{name}"' not in text]
            assert not unused or kind in ("headers", "responses", "parameters"), (kind, unused)


def test_every_example_is_what_its_schema_takes() -> None:
    found = documented.closed(committed())
    routes = operations(found) | {"refusals": {"responses": found["components"]["responses"], "parameters": []}}
    for route, operation in routes.items():
        contents = [*operation.get("requestBody", {}).get("content", {}).values()]
        contents += [
            content for answer in operation["responses"].values() for content in answer.get("content", {}).values()
        ]
        for content in [*contents, *operation["parameters"]]:
            if "example" in content:
                schema = content["schema"] | {"components": found["components"]}
                errors = [
                    error.message for error in jsonschema_rs.validator_for(schema).iter_errors(content["example"])
                ]
                assert not errors, (route, errors)


def test_every_answer_has_an_example() -> None:
    found = committed()
    lacking = [
        f"{route} {status}"
        for route, operation in operations(found).items()
        if route.partition(" ")[2] != "/api/v1/openapi.json"
        for status, answer in operation["responses"].items()
        if status.isdigit() and "example" not in answer.get("content", {}).get("application/json", {"example": None})
    ]
    assert lacking == [], "tests/examples.py tells a story in which every route answers"
    refusals = found["components"]["responses"]
    lacking = [status for status, answer in refusals.items() if "example" not in answer["content"]["application/json"]]
    assert lacking == []


def test_every_recorded_example_is_of_a_route() -> None:
    declared = {
        route.replace("/api/v1/guilds/", "/api/guilds/"): set(operation["responses"])
        for route, operation in operations(committed()).items()
    }
    declared["refusals"] = set(committed()["components"]["responses"])
    recorded = json.loads(EXAMPLES.read_text())
    assert [
        f"{route} {status}"
        for route, answers in recorded.items()
        for status in answers
        if status not in declared.get(route, ())
    ] == []


def test_a_body_has_an_example() -> None:
    without = {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]
        for operation in operations(committed()).values()
        if operation.get("requestBody", {}).get("required")
    }
    lacking = {name for name, content in without.items() if "example" not in content}
    # Of the routes that every entity has, the sample event is about one.
    by_entity = {name.rpartition("_")[0] for name, content in without.items() if "example" in content}
    assert {name for name in lacking if name.rpartition("_")[0] not in by_entity} == set()


def test_a_document_of_150_entities_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"things_{n}": replace(ENTITIES["accounts"], name=f"things_{n}", singular=f"thing_{n}") for n in range(150)}
    monkeypatch.setattr(document, "ENTITIES", many)
    document.served.cache_clear()
    try:
        body, _ = document.served()
    finally:
        document.served.cache_clear()
    assert len(gzip.compress(body.encode(), 6)) <= MOST_GZIPPED
    assert len(json.dumps(body).encode()) < 5_500_000, "an answer may have 6 MB"
    assert json.loads(body)["components"]["parameters"]["entity"]["schema"]["enum"] == [*many]
    openapi_spec_validator.validate(json.loads(body))


def test_what_is_served_names_the_entities_of_this_deployment() -> None:
    found = json.loads(document.served()[0])
    schemas = found["components"]["schemas"]
    for name in ("Record", "NewRecord", "ChangedRecord", "RecordUpdate"):
        assert [each["$ref"] for each in schemas[name]["anyOf"]] == [
            f"#/components/schemas/{entity}.{name}" for entity in ENTITIES
        ]


# What the document says of a body is what the routes take

VALUES: tuple[Json, ...] = (
    "a", "", "a\0b", "x" * 3000, None, 0, 1, -1, 2**63 - 1, 2**63, 1.5, True, "todo", "urgent", "2026-01-01T00:00:00Z",
    [], {}, "acc_1",
)  # fmt: skip


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=lambda entity: entity.name)
@pytest.mark.parametrize("shape", ["NewRecord", "ChangedRecord"])
def test_the_schema_of_an_entity_takes_what_its_routes_take(entity: Any, shape: str) -> None:
    schema = schemas_of(entity)[f"{entity.name}.{shape}"]
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    reader = (new_record if shape == "NewRecord" else changed_record)(entity)
    good = dict.fromkeys(schemas_of(entity)[f"{entity.name}.NewRecord"]["required"], "x")
    bodies: list[Json] = [{}, good, {**good, "nothing": 1}, {**good, "createdAt": "2026-01-01T00:00:00Z"}]
    bodies += [{**good, name: value} for name in schema["properties"] for value in VALUES]
    for body in bodies:
        assert validator.is_valid(body) == _is_taken(reader, body), body


def _is_taken(reader: TypeAdapter[Any], body: Json) -> bool:
    try:
        reader.validate_json(json.dumps(body))
    except ValidationError:
        return False
    return True


def test_an_entity_may_have_choices_and_optional_fields_of_every_type() -> None:
    model = create_model(
        "Thing", label=(str, ...), kind=(Literal["a", "b"] | None, None), size=(float, 1.0), open=(bool | None, None)
    )
    thing = replace(ENTITIES["tasks"], name="things", model=model, references=(), label="label", filters=())
    made = schemas_of(thing)
    shown = made["things.Record"]["properties"]
    assert shown["kind"] == {"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]}
    assert shown["size"] == {"type": "number"}
    assert made["things.NewRecord"]["required"] == ["label"]
