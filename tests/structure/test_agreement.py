"""One name, four places: a handler file, a function of the template, a sample event and what they say of its routes."""

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from stowage.entry.step import StepInput
from tests.structure.deployed_template import functions, source
from tests.structure.fresh_python import run_python
from tests.structure.repository import EVENTS, FUNCTIONS, handler_files, parsed, relative, title_case

FEWEST_LINES, MOST_LINES = 8, 60
METHODS = {"get", "post", "put", "patch", "delete", "head"}
DASHBOARD, BACKEND = "/api/guilds/", "/api/v1/guilds/"

EXPECTED = {f"{title_case(path.stem)}Function": path for path in handler_files()}
"""Each handler file by the logical id that its function must have."""


def routes_of(function: str) -> set[str]:
    """`METHOD path` for each route that the template gives a function; `$default` for what is left."""
    events: dict[str, Any] = source()["Resources"][function]["Properties"].get("Events", {})
    routes = [event["Properties"] for event in events.values() if event["Type"] == "HttpApi"]
    return {f"{route['Method']} {route['Path']}" if "Path" in route else "$default" for route in routes}


def declared_in(path: Path) -> set[str]:
    """`METHOD path` for each route that a handler file declares, as Powertools writes paths."""
    return {
        f"{decorator.func.attr.upper()} {ast.literal_eval(decorator.args[0])}"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in METHODS
    }


def without_names(route: str) -> str:
    """A route with its parameters' names left out: the two notations, and the two sides' names, differ."""
    return re.sub(r"\{\w+\+?\}|<\w+>", "{}", route)


ROUTED = sorted(name for name in EXPECTED if name in source()["Resources"] and routes_of(name) - {"$default"})


def test_every_handler_file_has_its_function_and_every_function_its_file() -> None:
    assert sorted(functions()) == sorted(EXPECTED)


@pytest.mark.parametrize("function", EXPECTED)
def test_a_functions_handler_is_the_file_of_its_name(function: str) -> None:
    module = ".".join(EXPECTED[function].relative_to(FUNCTIONS).with_suffix("").parts)
    assert functions()[function]["Handler"] == f"{module}.app"


def test_every_handler_file_has_its_sample_event_and_every_sample_event_its_file() -> None:
    assert sorted(path.stem for path in EVENTS.iterdir()) == sorted(path.stem for path in handler_files())


def test_file_names_are_unique_over_all_folders() -> None:
    assert len(EXPECTED) == len(handler_files())


@pytest.mark.parametrize("function", ROUTED)
def test_a_handler_declares_the_routes_that_the_template_gives_it(function: str) -> None:
    in_template = {route.replace(BACKEND, DASHBOARD) for route in routes_of(function)}
    assert set(map(without_names, declared_in(EXPECTED[function]))) == set(map(without_names, in_template))


@pytest.mark.parametrize("function", ROUTED)
def test_a_dashboards_route_is_mounted_for_the_backend_too(function: str) -> None:
    routes = routes_of(function)
    dashboard = {route.replace(DASHBOARD, BACKEND) for route in routes if f" {DASHBOARD}" in route}
    assert dashboard == {route for route in routes if f" {BACKEND}" in route}


@pytest.mark.parametrize("function", ROUTED)
def test_the_tenant_in_a_path_bears_the_name_by_which_the_entry_checks_it(function: str) -> None:
    below = [route.partition("/guilds/")[2] for route in routes_of(function) if "/guilds/" in route]
    assert all(rest.startswith("{guildId}/") for rest in below)


def test_no_route_belongs_to_two_functions() -> None:
    routes = [route for function in ROUTED for route in routes_of(function)]
    assert len(routes) == len(set(routes))


@pytest.mark.parametrize("function", ROUTED)
def test_a_sample_event_comes_by_one_of_its_functions_routes(function: str) -> None:
    event = json.loads((EVENTS / f"{EXPECTED[function].stem}.json").read_text())
    context = event["requestContext"]
    method, path = event["routeKey"].split(" ")
    assert event["routeKey"] in routes_of(function)
    assert context["routeKey"] == event["routeKey"]
    assert context["http"]["method"] == method
    assert sorted(event.get("pathParameters", {})) == sorted(re.findall(r"\{(\w+)\+?\}", path))
    for name, value in event.get("pathParameters", {}).items():
        path = path.replace("{" + name + "}", value)
    assert event["rawPath"] == context["http"]["path"] == path


@pytest.mark.parametrize("path", sorted((FUNCTIONS / "steps").glob("*.py")), ids=lambda path: path.stem)
def test_a_steps_sample_event_is_what_the_state_machine_gives(path: Path) -> None:
    event = json.loads((EVENTS / f"{path.stem}.json").read_text())
    given = StepInput.model_validate(event)
    assert set(event) <= set(StepInput.model_fields)
    assert given.execution == f"{given.run_id}-{given.attempt}"


@pytest.mark.parametrize("path", handler_files(), ids=relative)
def test_a_handler_file_is_short_and_says_what_it_answers(path: Path) -> None:
    text = path.read_text()
    assert FEWEST_LINES <= len(text.splitlines()) <= MOST_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", handler_files(), ids=relative)
def test_a_handler_file_has_one_app(path: Path) -> None:
    body = parsed(path).body
    functions_named = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "app"]
    assigned = [
        node
        for node in body
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "app" for to in node.targets)
    ]
    assert len(functions_named) + len(assigned) == 1


def test_no_folder_of_handlers_hides_a_library() -> None:
    """functions/ comes first on Lambda's path: a folder `queue` there would be what everybody's `import queue` gets."""
    folders = sorted(path.name for path in FUNCTIONS.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert not set(folders) & sys.stdlib_module_names
    code = f"""
import importlib.util
sys.path[:] = [path for path in sys.path if path not in ({str(FUNCTIONS)!r}, {str(FUNCTIONS.parent)!r})]
print([name for name in {folders!r} if importlib.util.find_spec(name)])
"""
    assert run_python(code) == "[]"
    assert all(importlib.util.find_spec(name) for name in folders), "the tests themselves import them"
