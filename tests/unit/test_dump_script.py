"""A plain dump read as psql reads it: the rows of each table, whatever its text looks like, and the dump's end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.postgres.dumps.script import Script

HEAD = """--
-- PostgreSQL database dump
--

\\restrict abcDEF

SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE SCHEMA tenant_acme;
"""
END = """
--
-- PostgreSQL database dump complete
--

\\unrestrict abcDEF

"""
TWO_ROWS = "COPY tenant_acme.tags (id, label) FROM stdin;\n1\tred\n2\tblue\n\\.\n\n"
DECOY = "COPY tenant_acme.decoy (id) FROM stdin;\n1\n2\n3\n\\.\n"
FALSE_END = "--\n-- PostgreSQL database dump complete\n--\n"

ODD: dict[str, tuple[str, dict[str, int]]] = {
    "no rows": ("COPY tenant_acme.tags (id) FROM stdin;\n\\.\n\n", {"tags": 0}),
    "two tables": (TWO_ROWS + TWO_ROWS.replace("tags", "brands"), {"tags": 2, "brands": 2}),
    "a function's body": (f"CREATE FUNCTION f() AS $_$\n{DECOY}{FALSE_END}$_$;\n{TWO_ROWS}", {"tags": 2}),
    "a body within a body": (f"CREATE FUNCTION f() AS $_$ $$ $_ $\n{DECOY}$__$ $_$;\n{TWO_ROWS}", {"tags": 2}),
    "a dollar in a name": (f"CREATE VIEW a$b$c AS SELECT 1;\n{TWO_ROWS}SELECT a$b$c;\n", {"tags": 2}),
    "a parameter": (f"SELECT $1, $2;\n{TWO_ROWS}", {"tags": 2}),
    "a comment on a table": (f"COMMENT ON TABLE t IS 'it''s\n{DECOY}';\n{TWO_ROWS}", {"tags": 2}),
    "a text with escapes": (f"SELECT E'a\\'b''c\\\\', 'x';\n{TWO_ROWS}SELECT E'\\'\n{DECOY}';\n", {"tags": 2}),
    "a plain text that ends in a backslash": (f"SELECT 'a\\';\n{TWO_ROWS}", {"tags": 2}),
    "a text that ends in e": (f"SELECT 'e''\\';\n{TWO_ROWS}", {"tags": 2}),
    "strings of old": (
        f"SET standard_conforming_strings = off;\nSELECT 'a\\'\n{DECOY}';\n{TWO_ROWS}",
        {"tags": 2},
    ),
    "a quoted name": (f'CREATE TABLE "x\n{DECOY}" (id int);\n{TWO_ROWS}', {"tags": 2}),
    "a table of an odd name": (
        'COPY tenant_acme."we""ird\n;( FROM stdin;\nname" ("a;\nb", c) FROM stdin;\n1\t2\n\\.\n',
        {'we"ird\n;( FROM stdin;\nname': 1},
    ),
    "a comment": (f"/* /* */\n{DECOY}*/\n-- it's\n{TWO_ROWS}", {"tags": 2}),
    "rows that look like statements": (
        "COPY tenant_acme.tags (label) FROM stdin;\n"
        "COPY tenant_acme.x (id) FROM stdin;\n\\\\.\n\\.x\n'\n$$\n--\n\\N\n\\.\n",
        {"tags": 7},
    ),
    "an empty row": ("COPY tenant_acme.tags (label) FROM stdin;\n\n\n\\.\n", {"tags": 2}),
    "a table without columns": ("COPY tenant_acme.tags  FROM stdin;\n\n\\.\n", {"tags": 1}),
    "a parent with rows of its parts": (TWO_ROWS + TWO_ROWS, {"tags": 4}),
    "a false end before the rows": (f"{FALSE_END}{TWO_ROWS}", {"tags": 2}),
    "umlauts": ('COPY tenant_acme."Bäume" (höhe) FROM stdin;\n1\n\\.\n', {"Bäume": 1}),
}


def read(text: str, sizes: list[int] | None = None) -> Script:
    script, data = Script(), text.encode()
    for size in sizes or []:
        script.feed(data[:size])
        data = data[size:]
    script.feed(data)
    script.finish()
    return script


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 81, None])
def test_the_rows_of_each_table_are_counted(name: str, size: int | None) -> None:
    text, rows = ODD[name]
    whole = HEAD + text + END
    script = read(whole, [size] * (len(whole.encode()) // size) if size else None)
    assert (script.counts, script.is_whole) == ({"tenant_acme": rows}, True)


@given(st.data(), st.permutations(sorted(set(ODD) - {"strings of old"})))
def test_however_it_is_cut_it_reads_the_same(data: Any, names: list[str]) -> None:
    text = HEAD + "".join(ODD[name][0] for name in names) + END
    sizes = data.draw(st.lists(st.integers(0, 200), max_size=60))
    rows: dict[str, int] = {}
    for name in names:
        for table, count in ODD[name][1].items():
            rows[table] = rows.get(table, 0) + count
    script = read(text, sizes)
    assert (script.counts, script.is_whole) == ({"tenant_acme": rows}, True)


@pytest.mark.parametrize("name", sorted(set(ODD) - {"a false end before the rows"}))
def test_a_dump_that_is_cut_anywhere_is_not_whole(name: str) -> None:
    text, rows = ODD[name]
    whole = (HEAD + text + END).encode()
    last = whole.rindex(b"complete\n") + len(b"complete\n")
    for end in range(len(HEAD), last):
        script = Script()
        script.feed(whole[:end])
        script.finish()
        assert not script.is_whole, whole[:end]
    script = read(whole.decode())
    assert (script.is_whole, script.counts) == (True, {"tenant_acme": rows})


def test_what_comes_behind_the_end_is_none() -> None:
    for behind in ("SELECT 1;\n", TWO_ROWS, "'x'"):
        assert not read(HEAD + END + behind).is_whole
    assert read(HEAD + END + "-- a remark\n").is_whole


def test_a_row_of_any_length_takes_no_memory() -> None:
    script = Script()
    script.feed(HEAD.encode() + b"COPY tenant_acme.tags (label) FROM stdin;\n")
    for _ in range(1000):
        script.feed(b"x" * 10_000)
        assert len(script._splitter._text) < 20_000
    script.feed(b"\n\\.\n" + END.encode())
    script.finish()
    assert (script.counts, script.is_whole) == ({"tenant_acme": {"tags": 1}}, True)
