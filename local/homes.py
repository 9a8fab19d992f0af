"""The folder that holds all of a stack's data: nobody else may enter it, or read what is in it.

It holds data only: settings, routes and variables come from the template at each start.
"""

import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.console import StartError

OURS = ("lock", "stack.json", "secrets.json", "postgres-password", "logs", "state", "objects", "demo", "cache")
"""What stacks keep in a home, but for Postgres's own folder, which Postgres closes itself."""


def close(home: Path) -> None:
    """Make the home, or close one that others may enter: an earlier version left it open."""
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    mode = home.stat().st_mode
    if not mode & 0o077:
        return
    if mode & stat.S_ISVTX:
        raise StartError(f"{home} is everybody's folder. Choose one for the stack alone: STOWAGE_HOME={home}/stowage")
    try:
        home.chmod(0o700)
    except PermissionError as error:
        raise StartError(f"{home} is open to others and not yours to close. Choose another STOWAGE_HOME.") from error
    for name in OURS:
        for path in (home / name, *(home / name).rglob("*")):
            if path.exists() and not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)


@contextlib.contextmanager
def reading(kept: Path) -> Iterator[None]:
    """Use what an earlier start has kept; StartError says so where this version cannot."""
    try:
        yield
    except StartError:
        raise
    except Exception as error:
        raise unusable(kept, f"holds something that this version of the stack cannot read: {error!r}") from error


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file, empty where there is no file; StartError for anything else."""
    with reading(file):
        kept = json.loads(file.read_text()) if file.exists() else {}
        if not isinstance(kept, dict):
            raise TypeError(f"a {type(kept).__name__} instead of an object")
        return kept


def unusable(kept: Path, why: str) -> StartError:
    """The refusal of a home: nothing in it was changed, and the version that wrote it still starts."""
    return StartError(f"{kept} {why}. Start the version that wrote it, or choose another home: STOWAGE_HOME=…")
