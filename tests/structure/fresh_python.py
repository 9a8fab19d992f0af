"""A new interpreter that sees the product as Lambda does, with an environment of one's own choice."""

import subprocess
import sys
from collections.abc import Mapping

from tests.structure.repository import FUNCTIONS, PACKAGE, ROOT


def run_python(code: str, environment: Mapping[str, str] | None = None) -> str:
    """What the code prints; its error as the assertion where it fails. Its environment is empty unless one is given."""
    start = f"import sys; sys.path[:0] = [{str(FUNCTIONS)!r}, {str(PACKAGE.parent)!r}, {str(ROOT)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", start + code],
        env=dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
