"""The Python client stands by itself, and its shapes are those of the API's document."""

import ast
import inspect
import json
import sys
import tomllib
import types
from pathlib import Path
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from stowage_client import answers
from tests.structure.repository import ROOT, parsed, relative

type Json = Any

CLIENT = ROOT / "clients/python"
FILES = sorted((CLIENT / "stowage_client").glob("*.py"))
SCHEMAS: Json = json.loads((ROOT / "docs/openapi.json").read_text())["components"]["schemas"]
SHAPES = [shape for _, shape in inspect.getmembers(answers, is_typeddict)]
SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_the_client_imports_only_what_its_installation_brings(path: Path) -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())
    brought = {name.partition(">")[0] for name in project["project"]["dependencies"]} | {"stowage_client"}
    imported = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= brought | sys.stdlib_module_names
    assert project["tool"]["setuptools"]["packages"] == ["stowage_client"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_an_answer_has_the_shape_of_the_document(shape: Any) -> None:
    schema = SCHEMAS[shape.__name__]
    assert set(shape.__annotations__) | set(get_type_hints(shape)) == set(schema["properties"])
    assert shape.__required_keys__ == frozenset(schema.get("required", ()))
    for name, hint in get_type_hints(shape).items():
        assert kinds(hint) == kinds_of(schema["properties"][name]), name


def test_the_shapes_are_compared_by_what_they_hold() -> None:
    assert kinds(list[str] | None) == kinds_of(
        {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
    )
    assert kinds(list[str]) != kinds_of({"type": "array", "items": {"type": "integer"}})
    assert kinds(Literal["a"]) != kinds_of({"type": "string", "enum": ["a", "b"]})
    assert kinds(answers.Job) != kinds_of({"$ref": "#/components/schemas/Backup"})


def kinds(hint: Any) -> set[str]:
    """A type as the set of what it allows."""
    if hint is Any:
        return {"anything"}
    if hint in SIMPLE:
        return {SIMPLE[hint]}
    if is_typeddict(hint):
        return {hint.__name__}
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (NotRequired, Required):
        return kinds(inner[0])
    if origin in (Union, types.UnionType):
        return set().union(*(kinds(each) for each in inner))
    if origin is Literal:
        return {json.dumps(each) for each in inner}
    if origin is list:
        return {f"list of {sorted(kinds(inner[0]))}"}
    assert origin is dict, hint
    return {f"values of {sorted(kinds(inner[1]))}"}


def kinds_of(schema: Json) -> set[str]:
    """A schema as the set of what it allows."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return {name} if "properties" in SCHEMAS[name] else kinds_of(SCHEMAS[name])
        case {"anyOf": [*parts]}:
            return set().union(*(kinds_of(part) for part in parts))
        case {"enum": [*values]}:
            return {json.dumps(each) for each in values}
        case {"const": value}:
            return {json.dumps(value)}
        case {"type": "array"}:
            return {f"list of {sorted(kinds_of(schema['items']))}"}
        case {"type": "object"}:
            values = schema.get("additionalProperties", True)
            return {f"values of {sorted(kinds_of(values) if isinstance(values, dict) else {'anything'})}"}
        case {"type": str(name)}:
            return {name}
    return {"anything"}
