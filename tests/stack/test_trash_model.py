"""Edits, imports, undo, the trash and its purge in any order, against a model in memory (`trash_model`).

No record is lost, none is there twice, and each answer is what the model says, whatever the clock and its zone do.
"""

import time
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import RunningStack
from tests.stack.office import Office, in_process
from tests.stack.trash_machine import Trash


@pytest.fixture
def machine(stack: RunningStack, office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Trash]]:
    """The machine for a tenant of its own."""
    monkeypatch.setenv("TZ", "UTC")
    with in_process(stack), psycopg.connect(office.app_url, autocommit=True) as journal:
        yield type("TrashOf", (Trash,), {"office": office, "journal": journal})
    monkeypatch.undo()
    time.tzset()


def test_the_trash_is_what_the_model_says(machine: type[Trash]) -> None:
    chosen = settings(
        max_examples=max(8, settings().max_examples // 2),
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=chosen)
