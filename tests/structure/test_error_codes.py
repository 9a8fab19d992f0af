"""Every error code is documented, and every documented code exists."""

import ast
import re
from collections.abc import Iterator

from tests.structure.repository import ROOT, product_files

API = (ROOT / "docs/api.md").read_text()
OF_RUNS = ("RunError", "TransientRunError", "MisconfiguredError", "FencedError", "CancelledError")
"""Their codes are those of runs: docs/operations.md has them."""
OF_COMMANDS = ("MigrationError", "StowageError")
"""Told on a terminal."""


def codes(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "")
            place = {"refusal": 1, "Failure": 0}.get(name, 1 if name.endswith("Error") else None)
            if place is None or name in (*OF_RUNS, *OF_COMMANDS):
                continue
            given = [*node.args[place : place + 1], *(each.value for each in node.keywords if each.arg == "code")]
            yield from (each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str))
        elif (
            isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name not in (*OF_RUNS, *OF_COMMANDS)
        ):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]).endswith("code)"):
                    yield ast.literal_eval(line.value)[1]


def test_every_code_of_an_error_is_in_the_document() -> None:
    found = {code for path in product_files() for code in codes(ast.parse(path.read_text()))}
    used = {code for code in found if re.fullmatch(r"[a-z0-9_]+", code)}
    assert len(used) > 40
    assert sorted(code for code in used if f"`{code}`" not in API) == []


def test_every_code_of_a_run_is_in_the_document_of_runs() -> None:
    documented = (ROOT / "docs/operations.md").read_text()
    found = set()
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in OF_RUNS:
                given = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "code")]
                found |= {each.value for each in given if isinstance(each, ast.Constant)}
    assert len(found) > 30
    assert sorted(code for code in found if f"`{code}`" not in documented) == []


def test_every_code_of_the_document_is_in_the_code() -> None:
    section = API.partition("## Errors")[2].partition("\n## ")[0]
    rows = [line for line in section.split("\n") if re.match(r"\| \d", line)]
    listed = {code for row in rows for code in re.findall(r"`([a-z0-9_]+)`", row)}
    source = "\n".join(path.read_text() for path in product_files())
    assert len(listed) > 40
    assert sorted(code for code in listed if f'"{code}"' not in source) == []
