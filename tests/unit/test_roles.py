"""Use cases refuse a caller of too low a role by themselves, whichever entry they are called from."""

import importlib
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import signature
from typing import Any

import pytest

from stowage.access.identity import ROLES, Identity, Role
from stowage.basics.errors import ForbiddenError
from stowage.postgres.session.edit import Edit
from stowage.tenants import Tenant
from tests.structure.repository import modules

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def use_cases() -> dict[str, Callable[..., Any]]:
    """Every use case that names its role, by the module that defines it."""
    found: dict[str, Callable[..., Any]] = {}
    for name, path in modules().items():
        if name.startswith("stowage.") and "for_role(" in path.read_text() and name != "stowage.access.identity":
            module = importlib.import_module(name)
            found |= {
                f"{name}.{each.__name__}": each
                for each in vars(module).values()
                if callable(each) and "role" in getattr(each, "__dict__", {}) and each.__module__ == name
            }
    return found


USE_CASES = use_cases()


def called_as(role: Role, use_case: Callable[..., Any]) -> Any:
    """Call a use case as somebody of that role, with nothing else."""
    asking = {
        "edit": Edit(Tenant("acme", "acme", "Acme"), "me", role, NOW),
        "identity": Identity("me", role, frozenset({"acme"}), NOW),
    }
    return use_case(**{name: asking.get(name) for name in signature(use_case).parameters})


def test_every_use_case_that_changes_something_names_a_role() -> None:
    assert len(USE_CASES) >= 19
    assert {role for each in USE_CASES.values() if (role := vars(each)["role"])} == {"operator", "admin"}


@pytest.mark.parametrize(
    ("name", "role"),
    [(name, role) for name in sorted(USE_CASES) for role in ROLES[: ROLES.index(vars(USE_CASES[name])["role"])]],
)
def test_a_use_case_refuses_a_role_below_its_own(name: str, role: Role) -> None:
    with pytest.raises(ForbiddenError) as refused:
        called_as(role, USE_CASES[name])
    assert refused.value.code == "role_too_low"


@pytest.mark.parametrize("name", sorted(USE_CASES))
def test_a_use_case_lets_its_own_role_go_on(name: str) -> None:
    """With nothing to work on it fails, but not because of the role."""
    with pytest.raises(Exception) as failed:  # noqa: PT011 (whatever it is, as long as it is no refusal)
        called_as(vars(USE_CASES[name])["role"], USE_CASES[name])
    assert getattr(failed.value, "code", None) != "role_too_low"
