"""Who may import what, and what an import may do: boundaries that keep each decision in one place."""

import ast
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.structure.deployed_template import function_by_module
from tests.structure.fresh_python import run_python
from tests.structure.reachable_code import reach
from tests.structure.repository import FUNCTIONS, PACKAGE, ROOT, handler_files, modules, parsed, product_files, relative

CLOCKS = {
    "layers/stowage/stowage/entry/http.py": "a request's time is taken once and handed on",
    "layers/stowage/stowage/entry/step.py": "a step's",
    "layers/stowage/stowage/entry/trigger.py": "a trigger's",
    "layers/stowage/stowage/entry/deployment.py": "a deployment's",
    "functions/steps/run_inline.py": "a lane runs for minutes, so it is given the clock itself",
    "worker/__main__.py": "the same, and its log",
    "worker/function.py": "the same",
    "layers/stowage/stowage/backups/__main__.py": "a command's",
    "layers/stowage/stowage/runs/progress.py": "a transfer of hours reports when its bytes last moved",
}
"""Where the time of day is read, and why there."""

ENVIRONMENT = {
    "layers/stowage/stowage/settings.py": "the settings",
    "worker/__main__.py": "the run that the state machine gives",
    "layers/stowage/stowage/backups/__main__.py": "the table and the bucket that a command is given",
    "layers/stowage/stowage/postgres/dumps/pg_dump.py": "what pg_dump inherits: where programs and temporary files are",
    "layers/stowage/stowage/postgres/__main__.py": "the token with which `register --wait` asks the API",
    "layers/stowage/stowage/protection/checking.py": "the function's own name, which its metrics have",
    "layers/stowage/stowage/postgres/session/connection.py": "libpq's variables, which psycopg and pg_dump both follow",
}
"""Where the environment is read, and why there."""

PROVIDED_BY = {
    "aws-lambda-powertools": {"aws_lambda_powertools"},
    "boto3": {"boto3", "botocore", "urllib3"},
    "graphql-core": {"graphql"},
    "pydantic": {"pydantic", "pydantic_core"},
    "pyjwt": {"jwt"},
}
"""What a requirement is called when it is imported, where that differs."""

ONLY_IN_THE_WORKER = {"pyarrow"}
"""Imported inside a function that only the worker's lane calls."""

SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|COPY\s|WITH\s+\w+\s+AS\b"
    r"|(CREATE|ALTER|DROP|GRANT|REVOKE|TRUNCATE)\s+(TABLE|SCHEMA|ROLE|INDEX|SELECT|USAGE)\b)"
)

WHAT_THE_WORKER_RUNS = (
    "worker.__main__",
    "stowage.exports.making",
    "stowage.backups.making",
    "stowage.imports.files.running",
)

HANDLERS = sorted(function_by_module())


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def files_importing(*packages: str) -> set[str]:
    """The product's files that import one of these packages."""
    return {
        relative(path)
        for path in product_files()
        if any(name == package or name.startswith(package + ".") for name in imports_of(path) for package in packages)
    }


def outside(found: set[str], folder: str) -> set[str]:
    """The files that are not in a folder."""
    return {name for name in found if not name.startswith(folder)}


# Boundaries


def test_boto3_and_botocore_are_imported_only_in_stowage_aws() -> None:
    found = files_importing("boto3", "botocore")
    assert found
    assert not outside(found, "layers/stowage/stowage/aws/")


def test_clients_are_used_only_in_stowage_aws() -> None:
    assert not outside(files_importing("stowage.aws.clients"), "layers/stowage/stowage/aws/")


def test_psycopg_is_imported_only_in_stowage_postgres() -> None:
    found = files_importing("psycopg")
    assert found
    assert not outside(found, "layers/stowage/stowage/postgres/")


def test_sql_stands_only_in_stowage_postgres() -> None:
    found = [
        f"{relative(path)}:{node.lineno}: {node.value.strip()[:40]!r}"
        for path in product_files()
        if not relative(path).startswith("layers/stowage/stowage/postgres/")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SQL.match(node.value)
        and id(node) not in docstrings(parsed(path))
    ]
    assert not found


def test_sql_is_recognised_where_it_is() -> None:
    """The test above would pass with a pattern that matches nothing."""
    literals = [
        node.value
        for path in (PACKAGE / "postgres").rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]
    assert len(literals) >= 5


def docstrings(tree: ast.Module) -> set[int]:
    """The string statements of a file: they tell, and nobody runs them."""
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def test_the_product_imports_nothing_that_is_not_deployed_with_it() -> None:
    own = {path.name if path.is_dir() else path.stem for path in ROOT.iterdir() if not path.name.startswith(".")}
    development = own - {"worker"} | {"pytest", "hypothesis", "moto"}
    assert {"local", "tests", "benchmarks"} <= development
    assert not files_importing(*development)


def test_the_package_knows_neither_its_handlers_nor_its_worker() -> None:
    folders = sorted(path.name for path in FUNCTIONS.iterdir() if path.is_dir() and path.name != "__pycache__")
    package = {name for name in files_importing("worker", *folders) if name.startswith("layers/")}
    assert not package


def test_the_product_has_no_branch_for_this_machine_or_for_tests() -> None:
    branch = re.compile(
        r"localhost|127\.0\.0\.1|AWS_ENDPOINT_URL|AWS_SAM_LOCAL|PYTEST|\bmoto\b|is_local|is_test", re.IGNORECASE
    )
    found = [relative(path) for path in product_files() if branch.search(path.read_text())]
    assert not found


@pytest.mark.parametrize("path", handler_files(), ids=relative)
def test_a_handler_speaks_to_no_service_and_no_database_itself(path: Path) -> None:
    allowed = {"stowage", "pydantic", "aws_lambda_powertools"} | sys.stdlib_module_names
    assert not {name for name in imports_of(path) if name.split(".")[0] not in allowed}
    reserved = ("stowage.aws.clients", "stowage.aws.table", "stowage.aws.objects")
    assert not {name for name in imports_of(path) if name.startswith(reserved)}


# Time, environment, state


def calls_of_a_clock(path: Path) -> list[int]:
    """The lines that read the time of day; `time.monotonic` measures and is not among them."""
    readers = {
        ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"),
        ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"),
    }  # fmt: skip
    return [
        node.lineno
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in readers
    ]


def test_the_time_of_day_is_read_only_where_it_is_listed_with_its_reason() -> None:
    assert {relative(path) for path in product_files() if calls_of_a_clock(path)} == set(CLOCKS)


def test_the_environment_is_read_only_where_it_is_listed_with_its_reason() -> None:
    reads = re.compile(r"\bos\.(environ|getenv)\b|from os import .*(environ|getenv)")
    assert {relative(path) for path in product_files() if reads.search(path.read_text())} == set(ENVIRONMENT)


def test_nothing_asks_for_the_time_or_the_settings_when_it_is_imported() -> None:
    found = []
    for name, path in modules().items():
        for statement in parsed(path).body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                continue
            found += [
                f"{name}:{node.lineno}"
                for node in ast.walk(statement)
                if isinstance(node, ast.Call)
                and not any(isinstance(inner, ast.Lambda) for inner in ast.walk(statement))
                and (
                    (isinstance(node.func, ast.Name) and node.func.id == "settings")
                    or (isinstance(node.func, ast.Attribute) and node.func.attr in ("now", "today", "getenv"))
                )
            ]
    assert not found


# Imports as they really happen

PROBE = """
import importlib, json, os
import aws_lambda_powertools.event_handler.openapi.params, botocore.session, botocore.config, pydantic
import stowage.entry.http, stowage.entry.step, stowage.entry.trigger

def probe(module):
    before = set(sys.modules)
    app = importlib.import_module(module).app
    loaded = sorted({name.split(".")[0] for name in set(sys.modules) - before})
    settings, clients = sys.modules.get("stowage.settings"), sys.modules.get("stowage.aws.clients")
    getters = [value for value in vars(clients).values() if hasattr(value, "cache_info")] if clients else []
    return {
        "callable": callable(app),
        "loaded": loaded,
        "settings": settings.settings.cache_info().currsize if settings else 0,
        "clients": sum(getter.cache_info().currsize for getter in getters),
    }

for module in HANDLERS:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            print(json.dumps([module, probe(module)]), flush=True)
        except BaseException as error:
            print(json.dumps([module, {"error": repr(error)}]), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


@cache
def imported() -> dict[str, Any]:
    """What importing each handler does, in a process of its own with an empty environment.

    The processes are forks of one that has imported what every handler does anyway, which takes most of the time.
    """
    return dict(map(json.loads, run_python(f"HANDLERS = {HANDLERS!r}\n{PROBE}").splitlines()))


@pytest.mark.parametrize("module", HANDLERS)
def test_a_handler_imports_with_an_empty_environment_and_reads_no_settings(module: str) -> None:
    found = imported()[module]
    assert "error" not in found, found["error"]
    assert found["callable"]
    assert (found["settings"], found["clients"]) == (0, 0)


@pytest.mark.parametrize("module", HANDLERS)
def test_a_cold_start_does_not_pay_for_what_the_function_does_not_use(module: str) -> None:
    heavy = {"boto3", "pyarrow", "requests", "openpyxl", "numpy"}
    heavy |= set() if reach(module).speaks_sql else {"psycopg"}
    assert sorted(heavy & set(imported()[module]["loaded"])) == []


def requirements(path: Path) -> set[str]:
    """The names under which a requirements file's packages are imported."""
    names = re.findall(r"^([\w-]+)", path.read_text(), re.MULTILINE)
    return {found for name in names for found in PROVIDED_BY.get(name, {name.replace("-", "_")})}


def third_party(found: set[str]) -> set[str]:
    """The packages among imported names that are neither Python's nor ours."""
    ours = {name.split(".")[0] for name in modules()}
    return {name.split(".")[0] for name in found} - sys.stdlib_module_names - ours


def test_the_layer_holds_what_the_functions_import_and_nothing_else() -> None:
    needed = {name for module in HANDLERS for name in third_party(set(reach(module).outside))} - ONLY_IN_THE_WORKER
    held = requirements(ROOT / "layers/dependencies/requirements.in")
    assert needed <= held, "add to layers/dependencies/requirements.in and run make lock"
    unused = {
        name
        for name, provided in ((name, PROVIDED_BY.get(name, {name})) for name in held)
        if not provided & needed and not (name == "boto3" and "botocore" in needed)
    }
    assert not unused, "take out of layers/dependencies/requirements.in"


def test_the_workers_image_holds_what_the_worker_imports() -> None:
    held = requirements(ROOT / "worker/requirements.in")
    code = f"""
import importlib, importlib.abc
class Image(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {sorted(everything_else(held))!r}:
            raise ModuleNotFoundError(f"{{name}} is not in worker/requirements.in")
sys.meta_path.insert(0, Image())
for module in {WHAT_THE_WORKER_RUNS!r}:
    importlib.import_module(module)
"""
    run_python(code)


def everything_else(held: set[str]) -> set[str]:
    """What the functions' layer has and the worker's image has not."""
    return requirements(ROOT / "layers/dependencies/requirements.in") - held


def test_what_both_lanes_install_is_of_one_version() -> None:
    """An inline export and one from the worker are made by the same code, so let it be the same throughout."""
    pins = [
        dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", (ROOT / path).read_text(), re.MULTILINE))
        for path in ("layers/dependencies/requirements.txt", "worker/requirements.txt", "requirements-dev.lock")
    ]
    layer, worker, development = pins
    assert {name: version for name, version in layer.items() if development.get(name, version) != version} == {}
    assert {name: version for name, version in worker.items() if layer.get(name, version) != version} == {}
    assert {name: version for name, version in worker.items() if development.get(name, version) != version} == {}


def test_every_package_is_pinned_by_its_hash() -> None:
    for path in ("layers/dependencies/requirements.txt", "worker/requirements.txt", "requirements-dev.lock"):
        for entry in re.split(r"\n(?=\S)", (ROOT / path).read_text().strip()):
            if not entry.startswith("#"):
                assert "==" in entry.splitlines()[0], f"{path}: {entry.splitlines()[0]}"
                assert "--hash=sha256:" in entry, f"{path}: {entry.splitlines()[0]}"
