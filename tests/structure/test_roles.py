"""The role that a handler declares is that of the use case that it calls."""

import importlib

import pytest

from tests.structure.deployed_template import function_by_module
from tests.structure.reachable_code import reach
from tests.unit.test_roles import USE_CASES


def role_of(module: str) -> str | None:
    """The role that a handler declares, None where everybody may call it or it has none."""
    role: str | None = getattr(importlib.import_module(module).app, "role", None)
    return role


CHANGING = [module for module in sorted(function_by_module()) if role_of(module) in ("operator", "admin")]


@pytest.mark.parametrize("module", CHANGING)
def test_a_handler_declares_the_role_of_its_use_case(module: str) -> None:
    reached = {name: vars(USE_CASES[name])["role"] for name in reach(module).definitions if name in USE_CASES}
    assert role_of(module) in reached.values(), f"{module} declares {role_of(module)} and reaches {reached}"


OF_PARTS = {"records.run_batch", "records.run_graphql"}
"""Whose parts each need the role of their own use case (tests/stack/test_batch.py, test_graphql.py)."""


@pytest.mark.parametrize("module", sorted(set(function_by_module()) - {*CHANGING, *OF_PARTS}))
def test_a_handler_without_a_role_calls_nothing_that_needs_one(module: str) -> None:
    if role_of(module) is not None:
        assert not set(reach(module).definitions) & set(USE_CASES)
