"""A plain dump is cut where psql would cut it, whatever its chunks, and whatever stands in quotes,
comments and rows.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.basics.errors import RunError
from stowage.postgres.dumps.namespaces import PlainNamespaces
from stowage.postgres.dumps.plain import Piece, Splitter, headers
from stowage.postgres.dumps.portable import Form, Rewriter

HEADER = b"--\n-- Name: posts; Type: TABLE; Schema: tenant_other; Owner: o\n--\n"
DATA = b"--\n-- Data for Name: posts; Type: TABLE DATA; Schema: tenant_acme; Owner: o\n--\n"

STATEMENTS = {
    "words": b"CREATE TABLE tenant_acme.t (id int, note text DEFAULT 'a;b');",
    "a string": b"COMMENT ON TABLE t IS 'it''s; -- no comment /* nor this';",
    "a string with line ends": b"COMMENT ON TABLE t IS '\n" + HEADER + b"';",
    "a string with a backslash last": b"SELECT 'C:\\', 'x;';",
    "escapes": b"SELECT E'it\\'s; \\\\', e'\\';', 'x';",
    "doubled in escapes": b"SELECT E'a''\\'b;';",
    "a name that ends in e": b"SELECT some'thing\\';",
    "unicode": b"SELECT U&'d\\0061t\\+000061;', U&\"x;\" UESCAPE '!';",
    "bits": b"SELECT B'01', X'1F', b'\\', x'\\';",
    "a quoted name": b'CREATE TABLE "a;b""c; -- " ("x\'y" int);',
    "dollars": b"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1; -- ';$$;",
    "a tag": b"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ $$ ; $bod$ $body $ $body$;",
    "a tag in UTF-8": "DO $ß$ ; $$ $ß$;".encode(),
    "nested dollars": b"DO $a$ BEGIN EXECUTE $b$ COPY x FROM stdin; $b$; END $a$;",
    "a parameter": b"PREPARE p AS SELECT $1;",
    "dollars in a name": b"SELECT a$b$c FROM t$1;",
    "a comment within": b"SELECT 1 -- ; '\n, 2;",
    "comments within": b"SELECT 1 /* ; /* ' */ ; */ , 2;",
    "operators": b"SELECT 1 - -1, a->>'x;', b @- c, 4/2;",
    "brackets": b"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);",
    "a body of statements": (
        b"CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1 THEN 2 ELSE 3 END; SELECT 1; END;"
    ),
    "a procedure's": b"CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END;",
    "begin elsewhere": b"CREATE TABLE t (begin int, atomic int);",
    "a header": b"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_$\n" + HEADER + DATA + b"$_$;",
    "rows": b"DO $$\nCOPY tenant_other.posts (id) FROM stdin;\n1\n\\.\n$$;",
    "a backslash": b"SELECT $$\n\\restrict x\n$$;",
    "bytes that are no UTF-8": b"COMMENT ON TABLE t IS 'caf\xe9; \xff\xfe';",
}
ROWS = {
    "none": b"\n\\.\n",
    "some": b"\n1\ta\n2\tb\n\\.\n",
    "headers": b"\n1\t--\n" + HEADER.replace(b"\\", b"\\\\") + DATA + b"2\tx\n\\.\n",
    "escaped end marks": b"\n\\\\.\t\\\\.\n\\\\.\n\\.\n",
    "end marks within": b"\na\\.\n\\.b\nx\\.\n\\.\n",
    "quotes": b"\n'\t$$\t\"\t/*\n\\.\n",
}
COPY = b"COPY tenant_acme.posts (id) FROM stdin;"


def cut(text: bytes, *sizes: int) -> list[Piece]:
    """The pieces of a text that comes in chunks of these sizes, the last one again and again."""
    splitter, pieces, at, number = Splitter(), list[Piece](), 0, 0
    while at < len(text):
        size = sizes[min(number, len(sizes) - 1)]
        pieces += splitter.feed(text[at : at + size])
        at, number = at + size, number + 1
    pieces += splitter.finish()
    assert splitter.is_between
    return pieces


def told(pieces: list[Piece]) -> list[tuple[str, bytes]]:
    """The same with rows that follow each other as one."""
    whole: list[tuple[str, bytes]] = []
    for piece in pieces:
        if whole and whole[-1][0] == piece.kind == "rows":
            whole[-1] = ("rows", whole[-1][1] + piece.text)
        else:
            whole.append((piece.kind, piece.text))
    return whole


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_a_statement_is_one_piece(statement: bytes, size: int) -> None:
    text = HEADER + b"\n" + statement + b"\n\nSELECT 1;\n" + HEADER

    assert told(cut(text, size)) == [
        ("gap", HEADER + b"\n"), ("statement", statement), ("gap", b"\n\n"), ("statement", b"SELECT 1;"),
        ("gap", b"\n" + HEADER),
    ]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_rows_end_with_their_mark(rows: bytes, size: int) -> None:
    assert told(cut(COPY + rows + b"\nSELECT 1;", size)) == [
        ("statement", COPY), ("rows", rows), ("gap", b"\n"), ("statement", b"SELECT 1;")
    ]  # fmt: skip


WITHOUT_STANDARD_STRINGS = {
    "a quote": b"SELECT 'it\\'s; ', 'x';",
    "a backslash": b"SELECT '\\\\', ';';",
    "bits": b"SELECT b'\\', ';';",
    "dollars": b"SELECT $$\\$$;",
}


@pytest.mark.parametrize("statement", WITHOUT_STANDARD_STRINGS.values(), ids=WITHOUT_STANDARD_STRINGS.keys())
@pytest.mark.parametrize("size", [1, 5, 4096])
def test_backslashes_escape_where_the_dump_says_so(statement: bytes, size: int) -> None:
    said, undone = b"SET standard_conforming_strings = off;", b"SET standard_conforming_strings = on;"
    text = said + statement + undone + b"SELECT '\\';"

    assert [piece for _, piece in told(cut(text, size))] == [said, statement, undone, b"SELECT '\\';"]


def test_commands_of_psql_are_told_from_statements() -> None:
    text = b"--\n\\restrict abc\n\nSELECT 1;\n\\unrestrict abc\n"

    assert told(cut(text, 4096)) == told(cut(text, 1))
    assert [(kind, piece) for kind, piece in told(cut(text, 3)) if kind == "command"] == [
        ("command", b"\\restrict abc\n"), ("command", b"\\unrestrict abc\n")
    ]  # fmt: skip


parts = st.lists(
    st.one_of(
        st.sampled_from(list(STATEMENTS.values())).map(lambda text: text + b"\n"),
        st.sampled_from(list(ROWS.values())).map(lambda rows: COPY + rows),
        st.sampled_from([HEADER, DATA, b"\n", b"-- a comment; '\n", b"/* another; */\n", b"\\restrict x\n"]),
    ),
    max_size=8,
)


@given(parts=parts, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_pieces_are_the_text_and_the_same_for_all_chunks(parts: list[bytes], sizes: list[int]) -> None:
    text = b"".join(parts)

    pieces = cut(text, *sizes)

    assert b"".join(piece.text for piece in pieces) == text
    assert told(pieces) == told(cut(text, len(text) + 1))
    statements = [part for part in parts if part.rstrip() in STATEMENTS.values() or part.startswith(b"COPY")]
    assert sum(piece.kind == "statement" for piece in pieces) == len(statements)


CUT_OFF = {
    "in a statement": b"SELECT 1;\nSELECT 2",
    "in a string": b"SELECT 1;\nSELECT 'a;",
    "in dollars": b"SELECT 1;\nDO $$ ; $",
    "in rows": b"SELECT 1;\n" + COPY + b"\n1\ta\n2",
    "in a command": b"SELECT 1;\n\\unrestr",
    "before the end mark": b"SELECT 1;\n" + COPY + b"\n1\ta\n",
}


@pytest.mark.parametrize("text", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_what_is_cut_off_is_told(text: bytes) -> None:
    splitter = Splitter()
    pieces = [*splitter.feed(text), *splitter.finish()]

    assert not splitter.is_between
    assert next(piece.text for piece in pieces if piece.kind == "statement") == b"SELECT 1;"
    assert b"SELECT 2" not in b"".join(piece.text for piece in pieces)


NAMES = {
    "plain": (b"posts; Type: TABLE; Schema: tenant_acme; Owner: o", b"posts", b"TABLE", b"tenant_acme", b"o"),
    "a name like a header": (
        b"x; Type: TABLE; Schema: tenant_other; Owner: o; Type: VIEW; Schema: tenant_acme; Owner: shop",
        b"x; Type: TABLE; Schema: tenant_other; Owner: o",
        b"VIEW",
        b"tenant_acme",
        b"shop",
    ),
    "a tablespace": (
        b"posts; Type: TABLE; Schema: a; Owner: o; Tablespace: fast", b"posts", b"TABLE", b"a", b"o",
    ),
    "nobody's": (b"SCHEMA a; Type: ACL; Schema: -; Owner: -", b"SCHEMA a", b"ACL", b"-", b"-"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES.values(), ids=NAMES.keys())
def test_headers_are_read(case: tuple[bytes, ...]) -> None:
    line, *said = case
    [header] = headers(b"\n\n--\n-- Name: " + line + b"\n--\n\n")

    assert [header.name, header.type, header.schema, header.owner] == said


def entry(name: str, type: str, schema: str = "tenant_acme", data: bool = False) -> bytes:
    return (
        f"--\n-- {'Data for ' if data else ''}Name: {name}; Type: {type}; Schema: {schema}; Owner: o\n--\n\n".encode()
    )


OURS = entry("tenant_acme", "SCHEMA", "-") + b"CREATE SCHEMA tenant_acme;\n\n"
FOREIGN = entry("posts", "TABLE", "tenant_other") + b"CREATE TABLE tenant_other.posts ();\n\n"
FAKES = {
    name: entry("f", "FUNCTION") + statement + b"\n\n" for name, statement in STATEMENTS.items() if statement != HEADER
}


def looked_at(text: bytes, size: int = 50) -> PlainNamespaces:
    namespaces = PlainNamespaces("tenant_acme")
    for start in range(0, len(text), size):
        namespaces.feed(text[start : start + size])
    namespaces.finish()
    return namespaces


@pytest.mark.parametrize("fake", FAKES.values(), ids=FAKES.keys())
def test_what_stands_in_a_schema_neither_fails_the_check_nor_ends_it(fake: bytes) -> None:
    rows = entry("posts", "TABLE DATA", data=True) + COPY + ROWS["headers"]

    assert looked_at(OURS + fake + OURS + rows + FOREIGN).entries == 4
    with pytest.raises(RunError, match="not of tenant_acme alone"):
        looked_at(OURS + fake + FOREIGN + rows)


REFUSED = {
    "another schema": OURS + FOREIGN,
    "a schema of a like name": OURS + FOREIGN.replace(b"other", b"acme2"),
    "another schema alone": FOREIGN,
    "another schema itself": OURS + entry("tenant_other", "SCHEMA", "-"),
    "grants of another schema": OURS + entry("SCHEMA tenant_other", "ACL", "-"),
    "something of no schema": OURS + entry("hstore", "EXTENSION", "-"),
    "a name that looks like ours": OURS + entry("x; Type: TABLE; Schema: tenant_acme; Owner: o", "TABLE", "tenant_b"),
    "rows of another schema": (
        OURS + entry("posts", "TABLE DATA", data=True) + b"COPY tenant_other.posts (id) FROM stdin;\n1\n\\.\n"
    ),
    "rows of a schema whose name begins with ours": (
        OURS + entry("posts", "TABLE DATA", data=True) + b'COPY "tenant_acme.x".posts (id) FROM stdin;\n1\n\\.\n'
    ),
    "nothing": b"--\n-- PostgreSQL database dump\n--\n\nSET lock_timeout = 0;\n",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("size", [1, 4096])
def test_what_is_not_the_schemas_is_refused(text: bytes, size: int) -> None:
    with pytest.raises(RunError) as caught:
        looked_at(text, size)
    assert (caught.value.code, caught.value.retryable) == ("foreign_schema", False)


TAKEN = {
    "comment, grants and label of the schema": OURS
    + entry("SCHEMA tenant_acme", "COMMENT", "-")
    + entry("SCHEMA tenant_acme", "ACL", "-")
    + entry('SCHEMA "tenant_acme"', "SECURITY LABEL", "-"),
    "a name that looks like another's": OURS
    + entry("x; Type: TABLE; Schema: tenant_b; Owner: o", "TABLE")
    + b'CREATE TABLE tenant_acme."x; Type: TABLE; Schema: tenant_b; Owner: o" ();\n',
    "default privileges": OURS + entry("DEFAULT PRIVILEGES FOR TABLES", "DEFAULT ACL"),
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN.keys())
def test_what_is_the_schemas_is_taken(text: bytes) -> None:
    assert looked_at(text).entries > 1


@pytest.mark.parametrize(
    ("statement", "portable"),
    [
        (b"ALTER TABLE ONLY t.a ALTER COLUMN m SET (pg_attver=26489424);", b""),
        (b'ALTER TABLE ONLY t."a b" ALTER COLUMN "m;(" SET (pg_attver=1);', b""),
        (b"ALTER FOREIGN TABLE ONLY t.a ALTER COLUMN m SET (pg_attver=1);", b""),
        (
            b"ALTER TABLE ONLY t.a ALTER COLUMN m SET (pg_attver=1, n_distinct=5);",
            b"ALTER TABLE ONLY t.a ALTER COLUMN m SET (n_distinct=5);",
        ),
        (
            b"ALTER TABLE ONLY t.a ALTER COLUMN m SET (n_distinct=5, pg_attver=1);",
            b"ALTER TABLE ONLY t.a ALTER COLUMN m SET (n_distinct=5);",
        ),
        (b"ALTER TABLE ONLY t.a ALTER COLUMN m SET (n_distinct=5);", None),
        (b"COMMENT ON TABLE t.a IS 'ALTER TABLE ONLY a ALTER COLUMN b SET (pg_attver=1);';", None),
        (b"ALTER TABLE ONLY t.a ALTER COLUMN m SET DEFAULT '(pg_attver=1);';", None),
    ],
)
def test_what_a_server_keeps_with_its_columns_for_itself_is_left_out(statement: bytes, portable: bytes | None) -> None:
    rewriter = Rewriter(Form())
    written = b"".join([*rewriter.feed(statement), *rewriter.feed(b"\nSELECT 1;")])
    assert written.partition(b"\n")[0] == (statement if portable is None else portable)
