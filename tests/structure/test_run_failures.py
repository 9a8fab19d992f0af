"""Every way in which a run may fail is explained to whoever operates it."""

import ast
import re
from collections.abc import Iterator

from stowage.postgres.dumps.failures import PERMANENT, TRANSIENT
from tests.structure.repository import PACKAGE, ROOT, parsed

SETTLE = PACKAGE / "runs" / "settle.py"
# Whose place among a call's arguments holds the code.
PLACES = {"RunError": 1, "MisconfiguredError": 1, "TransientRunError": 1, "record_failure": 1, "Failure": None}


def constants(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def codes() -> set[str]:
    """The codes of all failures: given where they are raised, or in a table of signs."""
    found = {code for _, code, _ in (*PERMANENT, *TRANSIENT)}
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "worker").rglob("*.py")]:
        for node in ast.walk(parsed(path)):
            if path == SETTLE and isinstance(node, ast.Tuple) and len(list(constants(node.elts))) == 3:
                found.add(list(constants(node.elts))[1])
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in PLACES:
                continue
            place = PLACES[node.func.id]
            found.update(constants([word.value for word in node.keywords if word.arg == "code"]))
            if place is not None:
                found.update(constants(node.args[place : place + 1]))
    return found


def test_the_operations_document_explains_each() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("## When a run fails")[2].partition("\n## ")[0]
    explained = {
        code for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    assert {"out_of_memory", "server_newer", "login_refused", "storage_refused"} <= codes()
    assert codes() - explained == set()
    # Not raised as a failure of a run alone: an unavailable database, a table that a tenant lacks.
    assert explained - codes() == {"database_unavailable", "table_absent"}
