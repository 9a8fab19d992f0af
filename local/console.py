"""The terminal: one readable line per thing that happened, and below them a line that changes."""

import sys
import threading
import time

_lock = threading.Lock()
_status = ""


class StartError(Exception):
    """The stack cannot start; the message says why and what to change."""


def say(line: str) -> None:
    """Print one line, whole, whichever thread it comes from."""
    with _lock:
        sys.stdout.write(f"\r\x1b[K{line}\n{_status}" if _status else f"{line}\n")
        sys.stdout.flush()


def log(line: str) -> None:
    """Print one line behind the time of day."""
    say(f"{time.strftime('%H:%M:%S')} {line}")


def show(text: str) -> None:
    """Change the last line of a terminal; the lines that are printed meanwhile go above it."""
    global _status  # noqa: PLW0603  there is one terminal
    if sys.stdout.isatty():
        with _lock:
            _status = text
            sys.stdout.write(f"\r\x1b[K{text}")
            sys.stdout.flush()


def settle(text: str) -> None:
    """Print the line that has changed so far for good."""
    global _status  # noqa: PLW0603
    with _lock:
        sys.stdout.write(f"\r\x1b[K{text}\n" if _status else f"{text}\n")
        sys.stdout.flush()
        _status = ""
