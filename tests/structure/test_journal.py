"""The journal is written by one statement, whoever appends to it."""

import re

from tests.structure.repository import PACKAGE, product_files, relative

CHANGES = "layers/stowage/stowage/postgres/journal/changes.py"
WRITES = re.compile(r"\b(INSERT\s+INTO|MERGE\s+INTO|COPY)\s+stowage\.changes\b", re.IGNORECASE)


def test_one_statement_of_the_product_writes_the_journal() -> None:
    found = {relative(path): len(WRITES.findall(path.read_text())) for path in product_files()}
    assert {path: count for path, count in found.items() if count} == {CHANGES: 1}


def test_no_migration_writes_the_journal() -> None:
    files = sorted((PACKAGE / "postgres/schema/migrations/product").glob("*.sql"))
    assert files
    without_comments = {path.name: re.sub(r"--.*", "", path.read_text()) for path in files}
    assert [name for name, text in without_comments.items() if WRITES.search(text)] == []
