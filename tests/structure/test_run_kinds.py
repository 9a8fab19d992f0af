"""A kind of run is one row of a table: what the row names is there, and nobody else asks which kind a run is of."""

import ast
from collections.abc import Iterator
from importlib import import_module
from typing import get_args

import pytest

from stowage.jobs.filters import JobType
from stowage.runs.kinds import KINDS
from tests.faults.test_manifests import ASK
from tests.structure.reachable_code import named_by_kinds, reach
from tests.structure.repository import PACKAGE, ROOT, product_files, relative
from tests.unit.test_run_outcomes import RESULTS

TABLE = "layers/stowage/stowage/runs/kinds.py"
TYPES = get_args(JobType.__value__)


def comparisons(tree: ast.Module) -> Iterator[tuple[int, set[str]]]:
    """Each place that compares something, or matches it, and the texts to which it does."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                sides = [left, *others]
                if any(_is_kind(side) for side in sides):
                    yield node.lineno, {text for side in sides for text in _texts(side)}
            case ast.Match(subject=subject, cases=cases) if _is_kind(subject):
                yield node.lineno, {text for case in cases for text in _texts(case.pattern)}
            case ast.Subscript(slice=key) if _is_kind(key):
                yield node.lineno, set(_texts(node.value))


def _is_kind(node: ast.expr) -> bool:
    """Whether something bears the name of a kind: `run.kind`, `kind`, `item["kind"]`."""
    match node:
        case ast.Attribute(attr="kind") | ast.Name(id="kind") | ast.Subscript(slice=ast.Constant(value="kind")):
            return True
    return False


def _texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def test_nobody_but_the_table_compares_a_kind_with_a_name() -> None:
    found = [
        f"{relative(path)}:{line}"
        for path in product_files()
        if relative(path) != TABLE
        for line, texts in comparisons(ast.parse(path.read_text()))
        if texts & set(TYPES)
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        'run.kind == "export"',
        'run.kind != "import"',
        'kind in ("export", "import")',
        'item["kind"] not in {"verify"}',
        '"restore" == lease.kind',
        'match kind:\n    case "export_backup" | "x":\n        pass',
        '{"export": 1}[run.kind]',
    ],
)
def test_such_a_comparison_is_found_however_it_is_written(code: str) -> None:
    assert [texts & set(TYPES) for _, texts in comparisons(ast.parse(code))] != []


def test_no_name_of_a_kind_stands_outside_the_table() -> None:
    """A name that is no ordinary word needs no comparison to be a second place that knows a kind."""
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in product_files()
        if relative(path) not in (TABLE, "layers/stowage/stowage/jobs/filters.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in ("export_backup", "export_logs")
    ]
    assert not found


def test_every_kind_is_a_type_of_job() -> None:
    assert set(KINDS) <= set(TYPES)
    assert [kind.name for kind in KINDS.values()] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_names_is_there(kind: str) -> None:
    row = KINDS[kind]
    for name in filter(None, (row.work, row.estimator, row.result, row.when_ended, row.when_gone)):
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_work_and_what_it_leaves_tried(kind: str) -> None:
    """Its sample manifest is read in tests/unit, and a run of it stopped between its manifest and its settling."""
    row = KINDS[kind]
    assert row.work
    assert row.estimator
    assert kind in RESULTS, "tests/unit/test_run_outcomes.py: what its job tells"
    assert (ROOT / "tests/manifests" / f"{kind}.json").is_file()
    assert kind in ASK, "tests/faults/test_manifests.py: how it is asked for"
    assert (row.bucket is None) == (row.leaves == "outcome")


def test_what_the_table_names_counts_as_called_by_whoever_looks_it_up() -> None:
    """Or the tests of permissions and of the network would not know what a lane does."""
    columns = {"work", "work_together", "estimator", "estimator_together", "result", "when_ended", "when_gone"}
    assert {column for column, _ in named_by_kinds()} == columns
    assert len([column for column, _ in named_by_kinds() if column == "work"]) == len(KINDS)
    assert "stowage.exports.making.make_export" in reach("steps.run_inline").definitions
    assert not reach("jobs.list_jobs").speaks_sql


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_a_place_of_a_database_where_its_work_speaks_sql(kind: str) -> None:
    module, _, _ = KINDS[kind].work.partition(":")
    speaks = any(name.startswith("stowage.postgres.session.connection") for name in reach(module).definitions)
    assert any(KINDS[kind].speaks_sql({"level": level}) for level in (2, 3)) == speaks


def test_the_table_itself_loads_no_kinds_work() -> None:
    imported = {
        alias
        for node in ast.parse((PACKAGE / "runs/kinds.py").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in [str(node.module)]
    }
    assert not {name for name in imported if name.startswith("stowage.") and ".runs." in name}
    assert not {name for name in imported if name.split(".")[1:2] in (["exports"], ["backups"], ["imports"])}
