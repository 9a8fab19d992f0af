"""How `make test` shares the test files among processes, each with a stack of its own."""

import os
from collections import Counter

import pytest


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores, because tests mostly wait. With a stack that runs
    already, the tests run one after another on it.
    """
    return 0 if "STOWAGE_TEST_STACK" in os.environ else (os.process_cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the files with most tests first: a long one that starts last would keep all waiting."""
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: -tests[item.path])
