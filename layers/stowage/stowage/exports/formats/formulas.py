"""Cells that a spreadsheet would take for a formula, and back (docs/architecture.md; OWASP, CSV Injection).

Postgres neutralises them while it writes a CSV (`stowage.postgres.reads.rendering`); this is the same rule for one
text, and the inverse that an import applies.
"""

import re

_FORMULA = re.compile(r"[=@\t\r]|'+[-+=@\t\r]|[-+](?!([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\Z)")
_NEUTRALISED = re.compile(r"'+[-+=@\t\r]")


def neutralise(text: str) -> str:
    """The text as a CSV cell carries it: with `'` before it where it begins with `=`, `@`, tab or CR, or with `+` or
    `-` without being a number, or with apostrophes and such a sign.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def restore(cell: str) -> str:
    """The text that `neutralise` was given: `restore(neutralise(text)) == text` for every text."""
    return cell[1:] if _NEUTRALISED.match(cell) else cell
