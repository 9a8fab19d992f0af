"""Code that refers to a decision names one that is written down."""

import re
from itertools import chain

from tests.structure.repository import ROOT, product_files, relative

DECISIONS = (ROOT / "docs/decisions.md").read_text()
TITLES = set(re.findall(r"^## \d{4}-\d\d-\d\d · (.+)$", DECISIONS, re.MULTILINE))
OTHERS = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("benchmarks", "local"))


def test_a_decision_that_code_refers_to_is_there() -> None:
    """As `docs/decisions.md, "Title"`."""
    missing = []
    for path in (*product_files(), *OTHERS):
        text = re.sub(r"\s+", " ", path.read_text())
        for reference in re.findall(r"decisions\.md(.{0,90})", text):
            titled = re.match(r'`?,? "([^"]+)"(?: and "([^"]+)")?', reference)
            if not titled or not {title for title in titled.groups() if title} <= TITLES:
                missing.append(f"{relative(path)}: decisions.md{reference}")
    assert not missing


def test_every_decision_has_a_title_of_its_own() -> None:
    assert len(TITLES) == len(re.findall(r"^## ", DECISIONS, re.MULTILINE))
