"""Code cites what a reader of the repository has: its documents, or a public source."""

import re

import pytest

from tests.structure.repository import ROOT

PAPERS = re.compile(r"\b(CONTRACT|DESIGN)\b ?§")
PLACES = ("layers", "functions", "local", "worker", "tests", "benchmarks", "docs", "statemachines")


@pytest.mark.parametrize("place", PLACES)
def test_nothing_cites_a_paper_that_is_not_here(place: str) -> None:
    types = (".py", ".sql", ".yaml", ".md", ".sh", ".toml")
    files = [path for path in (ROOT / place).rglob("*") if path.suffix in types]
    # Migrations that have been applied are never edited.
    files = [path for path in files if path.suffix != ".sql" or "migrations" not in path.parts]
    assert [str(path) for path in files if PAPERS.search(path.read_text())] == []
