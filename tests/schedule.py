"""How `make test` shares the test files among processes, each with a stack of its own.

The files that take longest start first: one that starts last would keep all waiting. How long each
takes is in `seconds.txt`, which `make test ARGS=--keep-seconds` writes. What measures time runs at
the end, when nothing else does.
"""

import gc
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

SECONDS = Path(__file__).parent / "seconds.txt"
SECONDS_A_TEST = 0.3
"""For a file that is not known yet."""
ALONE = frozenset(
    {
        "tests/browser/test_console.py::test_ten_thousand_tenants_scroll_with_few_rows_in_the_page",
        "tests/stack/test_exports_files.py::test_a_hundred_rows_can_be_downloaded_within_two_seconds",
        "tests/stack/test_database_sample.py::test_loading_at_full_size_is_quick",
        "tests/stack/test_local_events.py::test_an_item_reaches_the_functions_of_its_stream_at_once",
        "tests/stack/test_pipeline_transfer.py"
        "::test_what_the_watch_raises_ends_the_transfer_within_a_second_of_a_silent_source",
    }
)
"""Tests that measure time so closely that nothing else may run meanwhile."""
AT_THE_END = "alone"


# A failure of `make test` is the same at its next run; `make test-long` draws anew each time, also
# where the variable CI is set, which would change Hypothesis's own defaults.
settings.register_profile("short", max_examples=20, derandomize=True, database=None, deadline=None)
settings.register_profile("long", max_examples=200, derandomize=False, deadline=None)
settings.load_profile("short")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the figures be kept."""
    parser.addoption("--keep-seconds", action="store_true", help="write how long each file took to tests/seconds.txt")


def pytest_configure(config: pytest.Config) -> None:
    """Sum up the files in the process that prints; look for garbage only once the tests are collected,
    which makes ten thousand of them and no garbage.
    """
    gc.disable()
    config.pluginmanager.register(Long(config))
    if hasattr(config, "workerinput"):
        return
    if config.option.durations is not None or config.option.keep_seconds:
        config.pluginmanager.register(FileSeconds(config.option.keep_seconds))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores, because tests mostly wait. With a stack that runs
    already, the tests run one after another on it.
    """
    return 0 if "STOWAGE_TEST_STACK" in os.environ else (os.process_cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What has been collected stays to the end."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests: put the longest files first, and what runs alone last."""
    if not hasattr(config, "workerinput"):
        return
    known = read_seconds()
    tests = Counter(file_of(item.nodeid) for item in items)
    seconds = {file: known.get(file, count * SECONDS_A_TEST) for file, count in tests.items()}
    items.sort(key=lambda item: (item.nodeid in ALONE, -seconds[file_of(item.nodeid)]))


def file_of(name: str) -> str:
    """The file of a test's name."""
    return name.partition("::")[0]


def read_seconds() -> dict[str, float]:
    """How long each file took when that was last kept."""
    pairs = (line.split() for line in SECONDS.read_text().splitlines())
    return {file: float(seconds) for seconds, file in pairs}


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LongestFirst | None":
    """Ours, where whole files are asked for."""
    return LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None


class LongestFirst(LoadFileScheduling):
    """Hands out the files in the order of collection, and last what runs alone."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return AT_THE_END if nodeid in ALONE else super()._split_scope(nodeid)

    def _reschedule(self, node: Any) -> None:
        """One process is kept for what runs alone, and waits until the others have ended."""
        if list(self.workqueue) == [AT_THE_END]:
            others = [each for each in self.nodes if each is not node]
            if any(not each.shutting_down for each in others):
                node.shutdown()
                return
            if others:
                return
        super()._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        """A process has ended; the one that waits may go on."""
        crashed = super().remove_node(node)
        for each in self.nodes:
            self._reschedule(each)
        return crashed


class Long:
    """Tests that only `make test-long` runs. `@pytest.mark.long(but="custom")` is for a test with several sets of
    parameters: those with the ids in `but` are not long ("18-*": all that begin so). `make test` says how many it
    leaves out, which pytest does not where processes share the tests.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left_out = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take the mark off those that are not long, before tests are chosen by it."""
        expected: dict[str, set[str]] = {}
        for item in items:
            for mark in item.iter_markers("long"):
                if "but" not in mark.kwargs:
                    continue
                but = mark.kwargs["but"]
                but = {but} if isinstance(but, str) else set(but)
                name, _, parameters = item.nodeid.partition("[")
                found = {each for each in but if _fits(parameters.removesuffix("]"), each)}
                expected.setdefault(name, set(but)).difference_update(found)
                if found:
                    item.own_markers.remove(mark)
        unknown = {name: missing for name, missing in expected.items() if missing}
        if unknown and not any("::" in argument for argument in self._config.args):
            raise pytest.UsageError(f"There are no such sets of parameters: {unknown}")

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count them where they are collected."""
        self._left_out += sum(item.get_closest_marker("long") is not None for item in items)

    def pytest_sessionfinish(self) -> None:
        """Let the process that prints know."""
        if hasattr(self._config, "workerinput"):
            self._config.workeroutput["left_out"] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Each process has left out the same."""
        self._left_out = max(self._left_out, getattr(node, "workeroutput", {}).get("left_out", 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say so in a line."""
        if self._left_out:
            terminalreporter.write_line(f"{self._left_out} tests were left out; `make test-long` runs all.")


def _fits(parameters: str, wanted: str) -> bool:
    return parameters == wanted or (wanted.endswith("*") and parameters.startswith(wanted[:-1]))


class FileSeconds:
    """How long the tests of each file took, fixtures included."""

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase of a test, in which those of its subtests are."""
        if not isinstance(report, pytest.SubtestReport):
            self._seconds[file_of(report.nodeid)] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a line for each file, the longest first, and their sum."""
        lines = [f"{seconds:8.1f}  {file}\n" for file, seconds in self._seconds.most_common()]
        terminalreporter.section("seconds of each file")
        terminalreporter.write("".join(lines))
        terminalreporter.write_line(f"{self._seconds.total():8.1f}  all")
        if self._keep:
            SECONDS.write_text("".join(lines))
