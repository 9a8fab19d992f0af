"""Archives (`custom`, `tar`) as plain dumps: pg_restore between the artifact and psql."""

import contextlib
import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator

from stowage.basics.errors import RunError
from stowage.postgres.dumps.archive import Contents, read_contents
from stowage.postgres.dumps.pg_dump import PIPE_BYTES, READ_BYTES, child_environment
from stowage.postgres.dumps.restored import SILENCE_SECONDS

LOOK_SECONDS = 0.5

type Choice = Callable[[Contents], Collection[int]]
"""Which entries of an archive are wanted, by their numbers."""


def plain(
    archive: Iterator[bytes], pg_restore: str, waiting: Callable[[], None], choose: Choice | None = None
) -> Generator[bytes]:
    """An archive as the plain dump that pg_restore makes of it, of the chosen entries alone.

    `waiting` is called twice a second while there is nothing. What the archive's iterator raises is raised; RunError
    `backup_damaged` where pg_restore does not read it to its end.
    """
    chosen: list[int] = []
    if choose is not None:
        archive, contents = _headed(archive)
        chosen = sorted(choose(contents))
    with _listed(chosen if choose is not None else None) as arguments:
        yield from _running([pg_restore, "--file=-", *arguments], archive, waiting)


def _headed(archive: Iterator[bytes]) -> tuple[Iterator[bytes], Contents]:
    """The archive from its beginning on, and its table of contents."""
    head = bytearray()
    for chunk in archive:
        head += chunk
        if contents := read_contents(head):
            return _behind(bytes(head), archive), contents
    raise RunError("The backup is damaged: its table of contents cannot be read.", "backup_damaged")


def _behind(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


@contextlib.contextmanager
def _listed(numbers: list[int] | None) -> Iterator[list[str]]:
    """pg_restore's arguments for these entries alone (None: all). It reads nothing but the numbers of the list."""
    if numbers is None:
        yield []
        return
    with tempfile.NamedTemporaryFile("w", suffix=".list") as file:
        file.writelines(f"{number};\n" for number in numbers)
        file.flush()
        yield [f"--use-list={file.name}"]


def _running(command: list[str], archive: Iterator[bytes], waiting: Callable[[], None]) -> Iterator[bytes]:
    try:
        process = subprocess.Popen(
            command,
            env=child_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pipesize=PIPE_BYTES,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise RunError("There is no pg_restore here.", "pg_dump_missing") from error
    feeding = _Feeding(process, archive)
    try:
        yield from _read(process, feeding, waiting)
        feeding.join()
        if process.wait() != 0:
            raise RunError("The backup is damaged: pg_restore cannot read it to its end.", "backup_damaged")
    finally:
        process.kill()
        process.wait()
        feeding.stop()
        if process.stdout:
            process.stdout.close()


def _read(process: "subprocess.Popen[bytes]", feeding: "_Feeding", waiting: Callable[[], None]) -> Iterator[bytes]:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    silent_since = time.monotonic()
    while True:
        if not poll.poll(LOOK_SECONDS * 1000):
            waiting()
            feeding.check()
            # At the end of a tar that is cut short it loops for ever.
            if feeding.is_done and time.monotonic() - silent_since > SILENCE_SECONDS:
                raise RunError("The backup is damaged: pg_restore does not come to its end.", "backup_damaged")
            continue
        silent_since = time.monotonic()
        data = os.read(descriptor, READ_BYTES)
        if not data:
            return
        yield data


class _Feeding:
    """The thread that gives pg_restore the archive, and what ended it."""

    def __init__(self, process: "subprocess.Popen[bytes]", archive: Iterator[bytes]) -> None:
        self.is_done = False
        self._process, self._archive = process, archive
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._feed, daemon=True, name="pg_restore")
        self._thread.start()

    def check(self) -> None:
        """Raise what has ended the reading of the archive, if anything has."""
        if self._error:
            raise self._error

    def join(self) -> None:
        """Wait until the archive was read to its end, which pg_restore need not have done; raises as `check`."""
        self._thread.join()
        self.check()

    def stop(self) -> None:
        """Wait for the thread once pg_restore is gone."""
        self._thread.join()

    def _feed(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        takes = True
        try:
            for chunk in self._archive:
                rest = memoryview(chunk)
                while takes and rest:
                    try:
                        rest = rest[stdin.write(rest) :]
                    except BrokenPipeError:
                        takes = False  # a tar's last blanks; the rest is read for its checksum
        except BaseException as error:  # raised where the plain dump is read
            self._error = error
        finally:
            self.is_done = True
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
