"""The order in which `make test` hands out the tests."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests.conftest import ROOT
from tests.schedule import ALONE, LongestFirst

FILES = {"long": 6, "middle": 4, "short": 3}
NAMES = [f"tests/{file}.py::test_{n}" for file, count in FILES.items() for n in range(count)]
TIMED = sorted(ALONE)


class Process:
    """A process of the tests, as the scheduler knows it: it runs a test once it knows the next."""

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="a process")
        self.given: list[int] = []
        self.done = 0
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def may_run(self) -> bool:
        return self.done < len(self.given) - (not self.shutting_down)


def run(config: pytest.Config, collection: list[str], count: int) -> Iterator[tuple[int, str, int]]:
    """Run all: which process ran which test, and how many others had not ended by then."""
    config.option.tx = ["popen"] * count
    scheduler: Any = LongestFirst(config, Producer("test"))
    processes = [Process() for _ in range(count)]
    for process in processes:
        scheduler.add_node(process)
    for process in processes:
        scheduler.add_node_collection(process, collection)
    scheduler.schedule()
    left = list(processes)
    while left:
        movable = [process for process in left if process.may_run or process.shutting_down]
        assert movable, "everyone waits for everyone"
        for process in movable:
            if process.may_run:
                index = process.given[process.done]
                process.done += 1
                yield processes.index(process), collection[index], len(left) - 1
                scheduler.mark_test_complete(process, index)
            else:
                left.remove(process)
                if process in scheduler.nodes:
                    assert scheduler.remove_node(process) is None


@pytest.fixture
def config(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> pytest.Config:
    monkeypatch.setattr(pytestconfig.option, "tx", [])
    monkeypatch.setattr(pytestconfig.option, "loadscopereorder", True)
    return pytestconfig


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_test_runs_once_and_each_file_in_one_process(config: pytest.Config, count: int) -> None:
    ran = list(run(config, NAMES + TIMED, count))
    assert sorted(name for _, name, _ in ran) == sorted(NAMES + TIMED)
    untimed = [(process, name) for process, name, _ in ran if name not in ALONE]
    for file in FILES:
        assert len({process for process, name in untimed if name.startswith(f"tests/{file}.py")}) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_measures_time_runs_when_the_others_have_ended(config: pytest.Config, count: int) -> None:
    ran = list(run(config, NAMES + TIMED, count))
    assert [(name, others) for _, name, others in ran[-len(TIMED) :]] == [(name, 0) for name in TIMED]


@pytest.mark.parametrize("name", TIMED)
def test_what_measures_time_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    assert f"\ndef {test}(" in (ROOT / file).read_text()


def test_the_first_files_start_first(config: pytest.Config) -> None:
    ran = list(run(config, NAMES, 2))
    assert {name for _, name, _ in ran[:2]} == {"tests/long.py::test_0", "tests/middle.py::test_0"}


def test_random_cases_are_few_and_the_same_each_time_unless_more_are_asked_for(
    pytestconfig: pytest.Config,
) -> None:
    short, long = settings.get_profile("short"), settings.get_profile("long")
    assert (short.derandomize, short.database, long.derandomize) == (True, None, False)
    assert long.max_examples >= 10 * short.max_examples
    assert settings.get_current_profile_name() == (pytestconfig.getoption("--hypothesis-profile") or "short")
