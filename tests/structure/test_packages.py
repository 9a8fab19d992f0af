"""No two packages of the product need each other: whoever reads one does not have to read the rest."""

import ast
from collections import defaultdict
from collections.abc import Callable
from functools import cache

from tests.structure.repository import PACKAGE, modules


@cache
def package_of(module: str) -> str:
    """The folder of a module, by import name; a module beside the folders is a package of its own.

    So is a command line: it brings packages together, and nobody imports it.
    """
    path = modules()[module]
    if path.parent == PACKAGE or path.stem == "__main__":
        return module
    return ".".join(path.relative_to(PACKAGE.parent).parts[:-1])


def room_of(module: str) -> str:
    """What a module is in at the top: `stowage.postgres` for all that is below it."""
    return module if module.endswith(".__main__") else ".".join(module.split(".")[:2])


def needs(group: Callable[[str], str] = package_of) -> dict[str, set[str]]:
    """Which packages (or rooms at the top) each one imports, inside functions too.

    A folder within a folder is a part of it, so that it imports from it counts for nothing.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in modules().items():
        if path.is_relative_to(PACKAGE) and module != "stowage":
            own = group(module)
            needed = {group(name) for name in imports_of(module)}
            found[own] |= {name for name in needed if not f"{own}.".startswith(f"{name}.")}
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


def test_no_rooms_at_the_top_need_each_other() -> None:
    assert circles(needs(room_of)) == []


def test_a_circle_is_seen_where_there_is_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_the_database_knows_no_capability() -> None:
    ground = {"access", "aws", "basics", "entities", "postgres", "settings", "tenants"}
    needed = {name for package, names in needs().items() if package.startswith("stowage.postgres") for name in names}
    assert {name.split(".")[1] for name in needed} <= ground
