"""What breaks clients is found in the API's document, and nothing of it is committed without being told."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from local.breaking import PRESENT, RELEASED, breaks
from tests.structure.repository import ROOT

type Json = Any

DOCUMENT: Json = {
    "paths": {
        "/things/{id}": {
            "post": {
                "security": [{"bearer": []}],
                "parameters": [
                    {"$ref": "#/components/parameters/id"},
                    {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "maximum": 100}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Asked"}}},
                },
                "responses": {
                    "200": {
                        "headers": {"ETag": {"required": True, "schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "404": {},
                },
            },
            "get": {"security": [], "parameters": [], "responses": {"200": {}, "304": {}}},
        }
    },
    "components": {
        "parameters": {"id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}},
        "schemas": {
            "Asked": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 50, "minLength": 1},
                    "kind": {"enum": ["a", "b"]},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "ids": {"type": "array", "maxItems": 10, "items": {"type": "string"}},
                    "filters": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
                },
            },
            "Thing": {
                "type": "object",
                "required": ["id", "state", "size"],
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "state": {"enum": ["on", "off"]},
                    "size": {"type": "number"},
                    "note": {"type": "string"},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                },
            },
            "Part": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        },
    },
}

PATH = "/things/{id}"


def post(document: Json) -> Json:
    return document["paths"][PATH]["post"]


def asked(document: Json) -> Json:
    return document["components"]["schemas"]["Asked"]["properties"]


def thing(document: Json) -> Json:
    return document["components"]["schemas"]["Thing"]["properties"]


def schema(document: Json, name: str) -> Json:
    return document["components"]["schemas"][name]


BREAKING: dict[str, tuple[Callable[[Json], Any], str]] = {
    "a route": (lambda d: d["paths"].pop(PATH), f"GET {PATH}: the route is gone"),
    "a method": (lambda d: d["paths"][PATH].pop("get"), f"GET {PATH}: the route is gone"),
    "a status": (lambda d: d["paths"][PATH]["get"]["responses"].pop("304"), f"GET {PATH} 304: the status is gone"),
    "a refusal": (lambda d: post(d)["responses"].pop("404"), "404: the status is gone"),
    "another success": (lambda d: post(d)["responses"].update({"202": {}}), "202: a new status"),
    "credentials": (lambda d: d["paths"][PATH]["get"].update(security=[{"key": []}]), f"GET {PATH}: needs credentials"),
    "a parameter": (lambda d: post(d)["parameters"].pop(), "query limit: is gone"),
    "a parameter that must be": (lambda d: post(d)["parameters"][1].update(required=True), "query limit: is required"),
    "a parameter's bound": (
        lambda d: post(d)["parameters"][1]["schema"].update(maximum=50), "query limit: no longer takes maximum 100",
    ),
    "a parameter's type": (
        lambda d: d["components"]["parameters"]["id"]["schema"].update(type="integer"),
        "path id: no longer takes string",
    ),
    "a media type": (
        lambda d: post(d)["responses"]["200"].update(content={"text/csv": {"schema": {}}}),
        "200: is no longer application/json",
    ),
    "a header": (
        lambda d: post(d)["responses"]["200"]["headers"]["ETag"].update(required=False),
        "200: the header ETag may be missing",
    ),
    "a field of a request": (lambda d: asked(d).pop("note"), "body.note: is gone"),
    "a field that must be": (
        lambda d: schema(d, "Asked")["required"].append("kind"), "body.kind: is required",
    ),
    "a new field that must be": (
        lambda d: (asked(d).update(colour={"type": "string"}), schema(d, "Asked")["required"].append("colour")),
        "body.colour: is required",
    ),
    "a choice of a request": (lambda d: asked(d)["kind"]["enum"].remove("b"), "body.kind: no longer takes b"),
    "null in a request": (lambda d: asked(d).update(note={"type": "string"}), "body.note: no longer takes null"),
    "a shorter name": (lambda d: asked(d)["name"].update(maxLength=20), "body.name: no longer takes maxLength 50"),
    "a new bound": (
        lambda d: asked(d)["ids"].update(minItems=1), "body.ids: no longer takes minItems unlimited",
    ),
    "a new pattern": (
        lambda d: asked(d)["name"].update(pattern="^a"), "body.name: no longer takes pattern unlimited",
    ),
    "what a list takes": (
        lambda d: asked(d)["ids"]["items"].update(type="integer"), "body.ids[]: no longer takes string",
    ),
    "what a map takes": (
        lambda d: asked(d)["filters"]["additionalProperties"].update(type="string"),
        "body.filters.*: no longer takes null",
    ),
    "a name unlike others": (
        lambda d: (asked(d).pop("note"), schema(d, "Asked").update(additionalProperties={"type": "string"})),
        "body.note: no longer takes null",
    ),
    "a field of an answer": (lambda d: thing(d).pop("note"), "200.note: is gone"),
    "a field that may be missing": (
        lambda d: schema(d, "Thing")["required"].remove("size"), "200.size: may be missing",
    ),
    "a new state": (lambda d: thing(d)["state"]["enum"].append("idle"), "200.state: may now be idle"),
    "null in an answer": (
        lambda d: thing(d).update(note={"anyOf": [{"type": "string"}, {"type": "null"}]}), "200.note: may now be null",
    ),
    "another type": (lambda d: thing(d)["id"].update(type="integer"), "200.id: may now be integer"),
    "any value": (lambda d: thing(d).update(state={"type": "string"}), "200.state: may now be anything else"),
    "an integer no more": (
        lambda d: schema(d, "Part")["properties"]["n"].update(type="number"), "200.parts[].n: may now be number",
    ),
    "a format": (lambda d: thing(d)["id"].pop("format"), "200.id: may now be format unlimited"),
    "a field of a part": (lambda d: schema(d, "Part")["properties"].pop("n"), "200.parts[].n: is gone"),
}  # fmt: skip

HARMLESS: dict[str, Callable[[Json], Any]] = {
    "a new route": lambda d: d["paths"].update({"/new": {"get": post(d)}}),
    "a new parameter": lambda d: post(d)["parameters"].append(
        {"name": "q", "in": "query", "required": False, "schema": {"type": "string"}}
    ),
    "a new field of a request": lambda d: asked(d).update(colour={"type": "string"}),
    "a new field of an answer": lambda d: thing(d).update(colour={"type": "string"}),
    "a field that need not be": lambda d: schema(d, "Asked")["required"].clear(),
    "a field that always is": lambda d: schema(d, "Thing")["required"].append("note"),
    "one choice more": lambda d: asked(d)["kind"]["enum"].append("c"),
    "one state less": lambda d: thing(d)["state"]["enum"].remove("off"),
    "a longer name": lambda d: asked(d)["name"].update(maxLength=60),
    "any name": lambda d: (asked(d).pop("note"), schema(d, "Asked").update(additionalProperties=True)),
    "a name like others": lambda d: (
        asked(d).pop("note"),
        schema(d, "Asked").update(additionalProperties={"type": ["string", "null"]}),
    ),
    "no bound": lambda d: asked(d)["ids"].pop("maxItems"),
    "null taken": lambda d: asked(d).update(name={"anyOf": [{"type": "string", "maxLength": 50}, {"type": "null"}]}),
    "whole sizes": lambda d: thing(d)["size"].update(type="integer"),
    "a new refusal": lambda d: post(d)["responses"].update({"409": {}}),
    "no credentials": lambda d: post(d).update(security=[{}, {"bearer": []}]),
    "other words": lambda d: post(d).update(summary="Something else."),
}


@pytest.mark.parametrize(("change", "told"), BREAKING.values(), ids=BREAKING)
def test_a_change_that_breaks_clients_is_named(change: Callable[[Json], Any], told: str) -> None:
    new = deepcopy(DOCUMENT)
    change(new)
    found = list(breaks(DOCUMENT, new))
    assert [each for each in found if each.endswith(told)], found


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_a_change_that_breaks_nobody_is_not_named(change: Callable[[Json], Any]) -> None:
    new = deepcopy(DOCUMENT)
    change(new)
    assert list(breaks(DOCUMENT, new)) == []


def test_every_break_since_the_release_stands_in_the_changelog() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    told = re.sub(r"\s+", " ", unreleased)
    found = breaks(json.loads(RELEASED.read_text()), json.loads(PRESENT.read_text()))
    assert [each for each in found if f"`{each}`" not in told] == []
