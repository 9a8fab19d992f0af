"""The folder that holds all of a stack's data: nobody else may enter it, or read what is in it."""

import stat
from pathlib import Path

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
