"""The local stack's journal gives back what was written whole, in order, whatever moment a kill came at."""

from pathlib import Path

import pytest

from local.journal import Journal
from local.s3.files import FileStore


def lines(folder: Path, first: int = 0) -> list[bytes]:
    return list(Journal(folder, "table").read(first))


def test_entries_come_back_in_order_across_starts(tmp_path: Path) -> None:
    for start in range(3):
        journal = Journal(tmp_path, "table")
        journal.begin()
        for number in range(3):
            journal.append(b"%d.%d" % (start, number))
    assert lines(tmp_path) == [b"%d.%d" % (start, number) for start in range(3) for number in range(3)]


@pytest.mark.parametrize("cut", [b"x", b"half an ent", b'{"a": "\r'])
def test_an_entry_cut_short_was_never_answered_and_hides_none_after_it(tmp_path: Path, cut: bytes) -> None:
    journal = Journal(tmp_path, "table")
    journal.begin()
    journal.append(b"whole\rstill")
    with (tmp_path / "table.1.journal").open("ab") as file:
        file.write(cut)
    after = Journal(tmp_path, "table")
    assert after.begin() == 2
    after.append(b"next")
    assert lines(tmp_path) == [b"whole\rstill", b"next"]


def test_a_snapshot_needs_only_what_came_after_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "table")
    journal.begin()
    journal.append(b"in the snapshot")
    generation = journal.begin()
    journal.append(b"since")
    # Killed before `forget`: both files are there.
    assert lines(tmp_path, generation) == [b"since"]
    journal.forget(generation)
    assert lines(tmp_path) == [b"since"]
    assert [path.name for path in tmp_path.iterdir()] == ["table.2.journal"]


def test_two_journals_share_a_folder_and_nobody_else_reads_them(tmp_path: Path) -> None:
    for name in ("table", "table.1", "s3"):
        journal = Journal(tmp_path, name)
        journal.begin()
        journal.append(name.encode())
    assert lines(tmp_path) == [b"table"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_the_bytes_of_a_replaced_object_stay_until_the_journal_knows(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    before = store.write(b"before")
    before.close()
    assert [segment.path.read_bytes() for segment in before.segments] == [b"before"]
    store.delete_discarded()
    assert list(tmp_path.iterdir()) == []
