"""Whatever a person can set or call is in docs/reference.md, and nothing else is (test_openapi.py: it is fresh)."""

import argparse
import re
from itertools import chain

import pytest

from local.reference import VARIABLES, parsers
from stowage.settings import Settings
from tests.structure.repository import ROOT

FOLDERS = ("local", "layers", "worker", "benchmarks", "tests", "clients")
PARAMETER = "STOWAGE_PARAMETER_"

OF_NO_PERSON = {
    "worker": "the state machine starts it",
    "local.database": "the local stack starts it",
    "local.guardian": "the local stack starts it",
    "local.fork_server": "the local stack starts it",
    "local.function_worker": "the local stack starts it",
    "local.openapi": "make openapi",
    "local.reference": "make reference",
    "local.screenshots": "make screenshots",
    "tests.examples": "make examples",
    "benchmarks": "make bench; its own --help has the options of each",
    "tests.structure.effective_permissions": "named where its test fails",
}
"""Modules that can be run and have no section, by the reason."""


def test_every_variable_that_is_read_is_in_it() -> None:
    files = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS)
    text = "\n".join(path.read_text() for path in (*files, ROOT / "Makefile", ROOT / "local/setup.sh"))
    read = {name for name in re.findall(r"STOWAGE_[A-Z]+(?:_[A-Za-z]+)*", text) if not f"{name}_".startswith(PARAMETER)}
    settings = {f"STOWAGE_{name.upper()}" for name in Settings.model_fields}
    declared = {name for name in VARIABLES if name.startswith("STOWAGE_") and not name.startswith(PARAMETER)}
    assert read - settings == declared - settings


def test_every_module_that_can_be_run_is_in_it() -> None:
    found = set()
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS):
        if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
            found.add({"clients.python.stowage_client": "stowage"}.get(name, name.removeprefix("layers.stowage.")))
    benchmarks = {name for name in found if name.startswith("benchmarks.")}
    sections = {parser.prog.removeprefix("python -m ") for parser in parsers()}
    assert found - benchmarks - {__name__} == sections | {*OF_NO_PERSON}


@pytest.mark.parametrize("parser", parsers(), ids=lambda parser: parser.prog)
def test_every_option_says_what_it_does(parser: argparse.ArgumentParser) -> None:
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for command in [parser, *chain.from_iterable(each.values() for each in choices)]:
        for action in command._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (command.prog, action.dest)
