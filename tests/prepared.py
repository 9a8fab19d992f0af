"""Databases of new stacks, made once for each state of the code: cluster, migrations and sample are
half of a start's processor time.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".stowage" / "cache"
PARTS = ("postgres", "postgres-password")
FOLDERS = ("layers", "local")
"""Their code decides what a new database holds."""


def copy(home: Path, make: Callable[[Path], None], *arguments: str) -> None:
    """Put a database into an empty home: as `make` leaves one in another home, for these arguments."""
    KEPT.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = KEPT / f"database-{_digest(arguments)}"
    with open(KEPT / "database.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _keep(made, make)
    _copy(made, home)


def _keep(made: Path, make: Callable[[Path], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="stowage-test-"))
    try:
        make(folder)
        partial = made.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        _copy(folder, partial)
        for old in sorted(KEPT.glob("database-*/"), key=lambda path: path.stat().st_mtime)[:-3]:
            shutil.rmtree(old, ignore_errors=True)
        partial.rename(made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    # With its owner, who is another user where we are root.
    subprocess.run(["cp", "-a", *(source / part for part in PARTS), target], check=True)


def _digest(arguments: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr(arguments).encode())
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
