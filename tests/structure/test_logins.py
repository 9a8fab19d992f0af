"""Tests and benchmarks log in with the password of the stack's roles, by the two functions that know it."""

import re
from itertools import chain

from tests.structure.repository import ROOT, relative

BY_HAND = re.compile(r"""database_url"?\]?\)?\.(replace|partition|rpartition|split)\(["'][^)]*stowage_master""")


def test_nobody_puts_another_role_into_the_owners_url_by_hand() -> None:
    """What replaces `stowage_master@` finds nothing there, and logs in as the owner."""
    files = chain((ROOT / "tests").rglob("*.py"), (ROOT / "benchmarks").rglob("*.py"))
    found = [
        relative(path)
        for path in files
        if BY_HAND.search(path.read_text()) and path.name not in ("test_logins.py", "test_local_lifecycle.py")
    ]
    assert not found, "use RunningStack.url_as(role) and RunningStack.product_url, or local/database_urls.py"
