"""Two dumps compared: what no two runs of pg_dump write alike does not count, everything else does, at any cut."""

from collections.abc import Iterator

import pytest

from stowage.postgres.dumps.sameness import compare_dumps

DUMP = b"""--
-- PostgreSQL database dump
--

\\restrict aaa

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET default_tablespace = fast;

--
-- Name: posts; Type: TABLE; Schema: tenant_acme; Owner: shop
--

CREATE TABLE tenant_acme.posts (
    id text NOT NULL,
    state character varying(9) DEFAULT 'a;b'::character varying,
    CONSTRAINT c CHECK (((state)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))
);

--
-- Data for Name: posts; Type: TABLE DATA; Schema: tenant_acme; Owner: shop
--

COPY tenant_acme.posts (id, state) FROM stdin;
p1\ta
\\\\restrict x\t-- Dumped from database version 1
\\.

--
-- PostgreSQL database dump complete
--

\\unrestrict aaa

"""


def cut(dump: bytes, size: int) -> Iterator[bytes]:
    return (dump[at : at + size] for at in range(0, len(dump), size))


SAME = [
    (b"restrict aaa", b"restrict bbbbbb"),
    (b"-- Dumped from database version 18.4\n", b"-- Dumped from database version 18.5 (Debian)\n"),
    (b"SET default_tablespace = fast;", b"SET default_tablespace = '';"),
]
REWRITTEN = (
    b"(ARRAY['a'::character varying, 'b'::character varying])::text[]",
    b"ARRAY[('a'::character varying)::text, ('b'::character varying)::text]",
)
TABLE, ROWS = "TABLE posts", "TABLE DATA posts"
DIFFERENT = [
    (b"p1\ta", b"p1\tb", ROWS),
    (b"p1\ta\n", b"", ROWS),
    (b"p1\ta\n", b"p1\ta\np1\ta\n", ROWS),
    (b"\\\\restrict x", b"\\\\restrict y", ROWS),
    (b"database version 1\n", b"database version 2\n", ROWS),
    (b"(id, state) FROM", b"(state, id) FROM", ROWS),
    (b"NOT NULL", b"NULL", TABLE),
    (b"'b'::character varying])", b"'c'::character varying])", TABLE),
    (b"DEFAULT 'a;b'", b"DEFAULT 'a;c'", TABLE),
    (b"Owner: shop\n--\n\nCREATE", b"Owner: other\n--\n\nCREATE", "its beginning"),
    (b"dump complete", b"dump", ROWS),
]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_what_no_two_dumps_write_alike_does_not_count(size: int) -> None:
    other = DUMP
    for before, after in SAME:
        assert other.count(before) >= 1
        other = other.replace(before, after)
    found = compare_dumps(cut(DUMP, size), cut(other, 5))
    assert (found.differs_at, found.rewritten) == (None, 0)


def test_an_expression_that_postgres_writes_anew_is_the_same() -> None:
    found = compare_dumps(cut(DUMP, 9), cut(DUMP.replace(*REWRITTEN), 4096))
    assert (found.differs_at, found.rewritten) == (None, 1)


@pytest.mark.parametrize(("before", "after", "place"), DIFFERENT, ids=str)
def test_everything_else_counts_and_is_named(before: bytes, after: bytes, place: str) -> None:
    assert DUMP.count(before) == 1
    other = DUMP.replace(before, after)
    for one, two in ((DUMP, other), (other, DUMP)):
        for size in (3, 4096):
            found = compare_dumps(cut(one, size), cut(two, 11)).differs_at
            assert found in {place, TABLE if place == "its beginning" else place}


def test_a_dump_that_breaks_off_is_not_the_same() -> None:
    for at in range(0, len(DUMP) - 20, 13):
        assert compare_dumps(iter([DUMP]), iter([DUMP[:at]])).differs_at is not None
