"""Each command of the Makefile: listed by `make help`, and named where a user or a contributor looks."""

import re

import pytest

from tests.structure.repository import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_a_command_is_documented_and_listed(target: str) -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    assert any(re.search(rf"\bmake {target}(?![\w-])", path.read_text()) for path in documents)
    assert re.search(rf"^{target}:.* ## \S", MAKEFILE, re.MULTILINE)
    assert target in MAKEFILE.partition(".PHONY:")[2].splitlines()[0].split()
