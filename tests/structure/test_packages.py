"""No two packages of the product need each other: whoever reads one does not have to read the rest."""

import ast
from collections import defaultdict
from functools import cache

from tests.structure.repository import PACKAGE, modules, relative

STATED = {
    "layers/stowage/stowage/runs/clock.py": "the clock calls whoever has something to do",
}
"""Files whose imports do not count, and why."""


@cache
def package_of(module: str) -> str:
    """The folder of a module, by import name; a module beside the folders is a package of its own."""
    path = modules()[module]
    if path.parent == PACKAGE:
        return module
    return ".".join(path.relative_to(PACKAGE.parent).parts[:-1])


def needs(*, of: set[str] | None = None) -> dict[str, set[str]]:
    """Which packages each package imports, lazily too; `of` are the files that are left out."""
    left_out = set(STATED) if of is None else of
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in modules().items():
        if not path.is_relative_to(PACKAGE) or module == "stowage" or relative(path) in left_out:
            continue
        found[package_of(module)] |= {package_of(name) for name in imports_of(module)} - {package_of(module)}
    return found


@cache
def imports_of(module: str) -> set[str]:
    """The package's own modules that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in modules() and name.startswith("stowage.")}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of packages that need each other, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set[str](), [start]
        while waiting:
            fresh = graph.get(waiting.pop(), set()) - seen
            seen |= fresh
            waiting += fresh
        reached[start] = seen
    found: list[set[str]] = []
    for package, seen in reached.items():
        circle = {other for other in seen if package in reached.get(other, ())}
        if circle and circle not in found:
            found.append(circle)
    return found


def test_no_packages_need_each_other() -> None:
    assert circles(needs()) == []


def test_a_circle_is_seen_where_there_is_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_what_is_left_out_for_a_stated_reason_would_be_a_circle_else() -> None:
    for file in STATED:
        assert circles(needs(of=set(STATED) - {file})), f"{file} needs no exception any more"


def test_the_database_knows_no_capability() -> None:
    ground = {"aws", "basics", "entities", "postgres", "settings", "tenants"}
    needed = {
        name for package, names in needs(of=set()).items() if package.startswith("stowage.postgres") for name in names
    }
    assert {name.split(".")[1] for name in needed} <= ground
