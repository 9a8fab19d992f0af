"""A table with a column of every type: what is read can be written, in the API and in files, value for value."""

import csv
import io
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest
from annotated_types import MaxLen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stowage.basics.errors import BadRequestError, StowageError
from stowage.bulk import bulk_undo
from stowage.bulk.requests import UndoRequest
from stowage.entities.declaration import DATABASE, Entity, Field, Key
from stowage.entities.declared import ENTITIES
from stowage.exports.formats import open_export
from stowage.imports.files.columns import Naming
from stowage.imports.files.opening import open_rows
from stowage.imports.files.preparing import Batch, Preparer
from stowage.imports.files.reading import Layout
from stowage.imports.files.validating import row_types
from stowage.imports.files.writing import write_batch
from stowage.imports.items import import_items
from stowage.postgres.edits.file_batches import ImportSession, begin_import
from stowage.postgres.schema.migrations import apply_roles, migrate
from stowage.records import change_record, change_records, create_record, list_records, read_record
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process, open_office
from tests.stack.servers import NEWEST, OLDER

type Json = Any

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "short": ("varchar(5)", {"type": "text", "rules": (MaxLen(5),)}),
    "small": ("smallint", {"type": "integer", "sql_type": "smallint"}),
    "whole": ("integer", {"type": "integer", "sql_type": "integer"}),
    "big": ("bigint", {"type": "integer"}),
    "float": ("double precision", {"type": "number"}),
    "real": ("real", {"type": "number", "sql_type": "real"}),
    "price": ("numeric(20,8)", {"type": "numeric", "precision": 20, "scale": 8}),
    "total": ("numeric(12,2)", {"type": "numeric", "precision": 12, "scale": 2}),
    "exact": ("numeric", {"type": "numeric"}),
    "flag": ("boolean", {"type": "boolean"}),
    "moment": ("timestamptz", {"type": "timestamp"}),
    "local": ("timestamp", {"type": "local_timestamp"}),
    "born": ("date", {"type": "date"}),
    "clock": ("time", {"type": "time"}),
    "span": ("interval", {"type": "interval"}),
    "ref": ("uuid", {"type": "uuid"}),
    "doc": ("jsonb", {"type": "json"}),
    "note": ("json", {"type": "json", "sql_type": "json"}),
    "raw": ("bytea", {"type": "bytes"}),
    "ip": ("inet", {"type": "other"}),
    "mood": ("mood", {"type": "other", "values": ("sad", "ok")}),
    "place": ("point", {"type": "other"}),
    "period": ("int4range", {"type": "other"}),
    "tags": ("text[]", {"type": "text", "is_array": True}),
    "sums": ("numeric[]", {"type": "numeric", "is_array": True}),
    "days": ("date[]", {"type": "date", "is_array": True}),
    "moments": ("timestamptz[]", {"type": "timestamp", "is_array": True}),
    "locals": ("timestamp[]", {"type": "local_timestamp", "is_array": True}),
    "floats": ("double precision[]", {"type": "number", "is_array": True}),
    "nets": ("inet[]", {"type": "other", "is_array": True}),
    "path": ("jsonpath", {"type": "other"}),
    "words": ("tsquery", {"type": "other"}),
}
GENERATED = Field("doubled", "doubled", "numeric", is_nullable=True, is_read_only=True)
DEFAULTED = Field("size", "size", "integer", default=DATABASE)
KITCHENS = Entity(
    "kitchens",
    "kitchen",
    "kitchens",
    None,
    label="id",
    soft_delete=False,
    own=(*(Field(name, name, is_nullable=True, **given) for name, (_, given) in TYPES.items()), GENERATED, DEFAULTED),
    key=Key((("id", "bigint"),), "database"),
)
TABLE = f"""
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE kitchens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {", ".join(f'"{n}" {sql}' for n, (sql, _) in TYPES.items())},
    doubled numeric GENERATED ALWAYS AS (price * 2) STORED, size integer NOT NULL DEFAULT 7,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
"""
IMPORTS = count(1)


JARS = Entity(
    "jars",
    "jar",
    "jars",
    None,
    label="id",
    soft_delete=False,
    own=(Field("facts", "facts", "other", sql_type="hstore", is_nullable=True),),
    key=Key((("id", "bigint"),), "database"),
)
"""Of an extension that the newest server does not have here."""
JARS_TABLE = """
CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
CREATE TABLE jars (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, facts public.hstore,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
"""
BOTH_SERVERS = pytest.mark.parametrize("office", [NEWEST, OLDER], indirect=True)


@pytest.fixture(scope="module")
def office(request: pytest.FixtureRequest, stack: RunningStack) -> Iterator[Office]:
    """An office of the stack, or (`OLDER`) on an older server beside it."""
    is_older = getattr(request, "param", NEWEST) == OLDER
    if is_older:
        url = request.getfixturevalue("servers")(OLDER).make_database().url
        stack = replace(stack, description=stack.description | {"database_url": url})
    ENTITIES["kitchens"], ENTITIES["jars"] = KITCHENS, JARS
    try:
        with psycopg.connect(stack.database_url, autocommit=True) as database:
            if is_older:
                apply_roles(database)
                migrate(database)
            made = open_office(stack, database)
            made.run(TABLE + (JARS_TABLE if is_older else ""))
            database.execute("SELECT stowage.grant_tenant(%s)", (made.schema,))
            with in_process(stack):
                yield made
            made.close()
    finally:
        del ENTITIES["kitchens"], ENTITIES["jars"]


def data(answer: Any) -> Json:
    return json.loads(answer.body)["data"]


def sent(value: Json) -> bytes:
    return json.dumps(value).encode()


def rows(office: Office) -> dict[str, str]:
    """Every row as Postgres writes it, without the times that Stowage keeps, by id."""
    # The journal and we keep a json's content, not its spaces.
    texts = {name: f'"{name}"::text' for name in (*TYPES, "doubled", "size")} | {"note": "note::jsonb::text"}
    columns = ", ".join(texts.values())
    return {str(row_id): row for row_id, row in office.run(f"SELECT id, ROW({columns})::text FROM kitchens")}


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(str) | st.sampled_from(
    ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "4713-01-01 00:00:00.5+00 BC", "10000-01-01 00:00:00+00"]
)
LOCALS = st.datetimes().map(str) | st.sampled_from(["infinity", "0044-03-15 12:00:00.5 BC", "10000-01-01 00:00:00"])
DATES = st.dates().map(str) | st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"])
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30).map(str)
# JSON does not tell -0.0 from 0.0.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "short": TEXTS,
    "small": st.integers(-(2**15), 2**15 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats().map(lambda value: value + 0.0),
    "real": st.floats(width=32).map(lambda value: value + 0.0),
    "price": st.decimals(-(10**12) + 1, 10**12 - 1, places=8).map(str),
    "total": st.decimals(-(10**10) + 1, 10**10 - 1, places=2).map(str) | st.sampled_from(["1.1", "1.10", "NaN"]),
    "exact": DECIMALS | st.sampled_from(["1.10", "1.1", "NaN", "Infinity", "-Infinity"]),
    "flag": st.booleans(),
    "moment": MOMENTS | st.just("2026-01-31 09:00:00.123456+00"),
    "local": LOCALS,
    "born": DATES,
    "clock": st.times().map(str) | st.just("24:00:00"),
    "span": st.sampled_from(["1 mon", "30 days", "1 mon 2 days 03:04:05.000006", "-1 days", "-00:00:01", "00:00:00"]),
    "ref": st.uuids().map(str),
    "doc": st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS | st.sampled_from([1.5, -0.1, 1e-7, 2.5e20]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    ).filter(lambda value: value is not None),
    "note": st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 9))),
    "raw": st.binary(max_size=9).map(lambda value: "\\x" + value.hex()),
    "ip": st.sampled_from(["10.0.0.1", "10.0.0.0/8", "::1"]),
    "mood": st.sampled_from(["sad", "ok"]),
    "place": st.sampled_from(["(1,2)", "(-0.5,1e+20)"]),
    "period": st.sampled_from(["[1,5)", "empty", "(,7)"]),
    "tags": st.lists(st.none() | TEXTS, max_size=3),
    "sums": st.lists(st.none() | DECIMALS, max_size=3),
    "days": st.lists(st.none() | DATES, max_size=3),
    "moments": st.lists(st.none() | MOMENTS, max_size=3),
    "locals": st.lists(st.none() | LOCALS, max_size=3),
    "floats": st.lists(st.none() | st.floats().map(lambda value: value + 0.0), max_size=3),
    "nets": st.lists(st.sampled_from(["10.0.0.1", "::1"]), max_size=2),
    "path": st.sampled_from(["$", '$."a"?(@ > 1)']),
    "words": st.sampled_from(["'a' & 'b c'", "'ä':*"]),
}
KITCHEN = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})
SOME = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),  # to shrink an example takes minutes
    suppress_health_check=list(HealthCheck),
)


def insert(office: Office, kitchens: list[Json]) -> list[str]:
    """Insert rows as the product would, by SQL of its own; their ids."""
    names = ", ".join(f'"{name}"' for name in TYPES)
    marks = ", ".join(f"%s::{sql}" for sql, _ in TYPES.values())
    ids = []
    for kitchen in kitchens:
        values = [
            json.dumps(kitchen[name]) if given["type"] == "json" and kitchen[name] is not None else kitchen[name]
            for name, (_, given) in TYPES.items()
        ]
        statement = (
            f"INSERT INTO kitchens ({names}, created_at, updated_at) VALUES ({marks}, now(), now()) RETURNING id"
        )
        ids += [str(row_id) for (row_id,) in office.run(statement, *values)]
    return ids


@BOTH_SERVERS
@SOME
@given(st.lists(KITCHEN, min_size=1, max_size=4))
def test_what_get_gives_patch_and_post_take(office: Office, kitchens: list[Json]) -> None:
    ids = insert(office, kitchens)
    before = rows(office)
    records = [json.loads(read_record(office.tenant, KITCHENS, each)) for each in ids]
    fields = [{name: record[name] for name in (*TYPES, "size")} for record in records]

    copies = data(import_items(office.edit(NOW), KITCHENS, sent({"items": fields})))["items"]
    after = rows(office)
    assert [after[copy["id"]] for copy in copies] == [before[each] for each in ids]
    assert [{name: copy[name] for name in (*TYPES, "size")} for copy in copies] == fields

    for each, given_fields in zip(ids, fields, strict=True):
        told = json.loads(change_record(office.edit(NOW), KITCHENS, each, sent(given_fields), None))
        assert told["updatedAt"] == next(record["updatedAt"] for record in records if record["id"] == each)
    updates = [{"id": copy["id"], **each} for copy, each in zip(copies, reversed(fields), strict=True)]
    operation = data(change_records(office.edit(NOW), KITCHENS, sent({"updates": updates})))["operationId"]
    changed = rows(office)
    assert [changed[copy["id"]] for copy in copies] == [before[each] for each in reversed(ids)]
    undone = json.loads(bulk_undo(office.edit(NOW), UndoRequest(operationId=operation)).body)
    assert undone["failed"] == 0, undone
    assert rows(office) == after


def export(office: Office, format: str, ids: list[str]) -> bytes:
    """The file of an export of these records."""
    from stowage.entities.filters import parse_filters

    connection = psycopg.connect(office.app_url, autocommit=True)
    filters = parse_filters("kitchens", {"ids": ids})
    source = open_export(connection, office.schema, office.id, data_type="kitchens", format=format, filters=filters)
    try:
        return b"".join(source.chunks())
    finally:
        source.close()


def import_file(office: Office, type: Any, file: bytes, on_conflict: Any) -> tuple[str, list[tuple[int, str, str]]]:
    """What becomes of each row of a file, by letter, and the failures."""
    layout = Layout(type, None, None, False)
    read = open_rows(layout, io.BufferedReader(io.BytesIO(file)))  # type: ignore[arg-type]
    naming = Naming(KITCHENS, {})
    columns = None if read.header is None else naming.match(read.header)
    preparer = Preparer(KITCHENS, f"import-{next(IMPORTS)}", type, columns, naming)
    taken = list(read)
    edit = office.edit(NOW)
    import_id = f"{office.id}-{next(IMPORTS)}"
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        begun = begin_import(connection, import_id, 1, edit, KITCHENS, keep_days=9)
        assert begun
        session = ImportSession(connection, edit, KITCHENS, import_id, 1)
        defaults = row_types("kitchens", type).defaults
        session.prepare({KITCHENS.column(name): each for name, each in defaults.items() if each is not None})
        batch = Batch(0, taken, 0, 0, 0, True, None)
        outcome = write_batch(session, KITCHENS, on_conflict, preparer.prepare(batch))
    return outcome.outcomes, outcome.failures


@pytest.mark.long(but=["csv-18", "ndjson-15", "xlsx-18"])
@BOTH_SERVERS
@pytest.mark.parametrize("format", ["csv", "ndjson", "xlsx"])
@SOME
@given(st.lists(KITCHEN, min_size=1, max_size=4))
def test_what_an_export_writes_an_import_reads(office: Office, format: str, kitchens: list[Json]) -> None:
    if format == "xlsx":
        # A worksheet holds no control characters, and of floats and moments what a double of days holds.
        plain = {
            "float": 0.5,
            "real": 0.5,
            "short": "x",
            "tags": None,
            "doc": {"a": 1.5},
            "local": "2026-01-31 09:00:00.5",
        }
        kitchens = [each | plain | {"moment": "2026-01-31 09:00:00.123456+00"} for each in kitchens]
    ids = insert(office, kitchens)
    before = rows(office)
    file = export(office, format, ids)
    assert import_file(office, format, file, "update") == ("u" * len(ids), [])
    assert rows(office) == before
    office.run("DELETE FROM kitchens WHERE id = ANY(%s::bigint[])", ids)
    assert import_file(office, format, file, "fail") == ("c" * len(ids), [])
    assert rows(office) == before


@pytest.mark.long(but="18")
@BOTH_SERVERS
@SOME
@given(st.lists(KITCHEN, min_size=1, max_size=3))
def test_parquet_and_json_hold_every_value(office: Office, kitchens: list[Json]) -> None:
    import pyarrow.parquet

    ids = insert(office, kitchens)
    table = pyarrow.parquet.read_table(io.BytesIO(export(office, "parquet", ids)))
    types = {field.name: str(field.type) for field in table.schema}
    assert types["price"] == "decimal128(20, 8)"
    assert (types["born"], types["clock"], types["local"]) == ("date32[day]", "time64[us]", "timestamp[us]")
    found = {row["id"]: row for row in table.select(["id", "big"]).to_pylist()}
    assert [found[each]["big"] for each in ids] == [kitchen["big"] for kitchen in kitchens]
    assert (types["raw"], types["tags"], types["floats"]) == (
        "binary",
        "list<element: string>",
        "list<element: double>",
    )
    parsed = {row["id"]: row for row in json.loads(export(office, "json", ids))}
    lists = {row["id"]: row for row in table.select(["id", "raw", "tags"]).to_pylist()}
    for each in ids:
        assert lists[each]["tags"] == parsed[each]["tags"]
        assert lists[each]["raw"] == (None if parsed[each]["raw"] is None else b64decode(parsed[each]["raw"]))
    assert [parsed[each]["doc"] for each in ids] == [kitchen["doc"] for kitchen in kitchens]


def test_an_array_of_several_dimensions_makes_a_column_of_parquet_texts(office: Office) -> None:
    import pyarrow.parquet

    office.run(
        "INSERT INTO kitchens (id, created_at, updated_at, floats) OVERRIDING SYSTEM VALUE "
        "VALUES (-7, now(), now(), '{1.5,NULL,NaN}'), (-8, now(), now(), '{{1,2},{3,4}}')"
    )
    flat = pyarrow.parquet.read_table(io.BytesIO(export(office, "parquet", ["-7"]))).to_pylist()
    assert str(flat[0]["floats"]) == "[1.5, None, nan]"
    found = pyarrow.parquet.read_table(io.BytesIO(export(office, "parquet", ["-7", "-8"]))).to_pylist()
    assert sorted(row["floats"] for row in found) == ['[1.5,null,"NaN"]', "[[1,2],[3,4]]"]


UNFIT = [
    ("short", "123456"),
    ("small", 32768),
    ("whole", 2**31),
    ("big", 2**63),
    ("big", "7"),
    ("float", "x"),
    ("float", True),
    ("real", 1e39),
    ("price", "1.123456789"),
    ("price", "1234567890123"),
    ("total", "1.239"),
    ("total", "Infinity"),
    ("exact", "ten"),
    ("flag", 1),
    ("moment", "2026-01-31T09:00:00"),
    ("local", "2026-01-31T09:00:00Z"),
    ("local", "now"),
    ("born", "tomorrow"),
    ("born", "2026-02-30"),
    ("clock", "25:00:00"),
    ("span", "a while"),
    ("ref", "nobody"),
    ("doc", {"a": "\0"}),
    ("float", float("inf")),
    ("whole", float("inf")),
    ("floats", [float("inf")]),
    ("raw", "no base64!"),
    ("mood", "angry"),
    ("tags", "a"),
    ("tags", [1]),
    ("sums", ["x"]),
    ("days", ["today"]),
    ("doubled", "1"),
]


@pytest.mark.parametrize(("field", "value"), UNFIT)
def test_a_value_that_does_not_fit_is_refused_by_its_field(office: Office, field: str, value: Json) -> None:
    before = rows(office)
    with pytest.raises(BadRequestError) as refused:
        create_record(office.edit(NOW), KITCHENS, too_large({field: value}))
    assert [detail["field"].partition("[")[0] for detail in refused.value.details or []] == [field]
    assert rows(office) == before
    if field != "doubled":
        line = too_large({field: value}) + b"\n"
        outcomes, [(_, code, sentence)] = import_file(office, "ndjson", line, "fail")
        assert (outcomes, sentence.partition(":")[0]) == ("f", field)
        assert code == "invalid"


def too_large(record: Json) -> bytes:
    """A record in which infinity stands as a number of JSON that no double holds."""
    return sent(record).replace(b"Infinity", b"1e400") if "inf" in repr(record) else sent(record)


UNFIT_CELLS = [
    ("float", "1E400"), ("float", "-1E400"), ("real", "1E39"), ("whole", "1E400"), ("price", "1E400"),
    ("moment", "1E400"), ("born", "1E400"), ("exact", "1E999999"), ("sums", "[1E999999]"), ("floats", "[1E400]"),
    ("doc", "1E1001"), ("note", '{"a": [1E-1001]}'), ("doc", "NaN"), ("doc", "[Infinity]"),
    ("sums", "[NaN]"), ("doc", "[1E99999999999999999999]"), ("sums", "[1E99999999999999999999]"),
    ("doc", "[" * 100_000), ("doc", r'"\ud800"'), ("doc", r'{"\udc00": 1}'),
    ("tags", r'["\ud800"]'), ("tags", r'["\u0000"]'),
]  # fmt: skip


@pytest.mark.long(but=["float-1E400", "moment-1E400", "born-1E400", "sums-[1E999999]", "doc-NaN", "sums-[NaN]"])
@pytest.mark.parametrize(("field", "text"), UNFIT_CELLS, ids=lambda each: each[:30])
def test_a_cell_that_does_not_fit_fails_its_row_by_its_field(office: Office, field: str, text: str) -> None:
    before = rows(office)
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["flag", field], ["true", text]])
    outcomes, [(_, code, sentence)] = import_file(office, "csv", file.getvalue().encode(), "fail")
    assert (outcomes, code, sentence.partition(":")[0]) == ("f", "invalid", field)
    assert rows(office) == before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (rb'{"short": "\ud800"}', "short: the text holds half a surrogate pair"),
        (rb'{"short": "a\udc00"}', "short: the text holds half a surrogate pair"),
        (b'{"short": "\xff"}', 'short: the text is no UTF-8; if the whole file has another encoding, send "encoding"'),
    ],
)
def test_half_a_character_is_no_sign_of_another_encoding(office: Office, line: bytes, told: str) -> None:
    outcomes, [(_, code, sentence)] = import_file(office, "ndjson", line + b"\n", "fail")
    assert (outcomes, code) == ("f", "invalid")
    assert sentence.startswith(told)


def test_a_number_that_no_double_holds_is_taken_where_the_column_holds_it(office: Office) -> None:
    assert import_file(office, "csv", b"exact,sums,short\n1E400,[1.5E400],1E400\n", "fail") == ("c", [])
    [(exact, sums, short)] = office.run("SELECT exact, sums, short FROM kitchens ORDER BY id DESC LIMIT 1")
    assert (exact, sums, short) == (10**400, [15 * 10**399], "1E400")


NUMBERS = [
    "0.1234567890123456789", "12345678901234567890.5", "-98765432109876543210987654321", "1.10", "0.30000000000000004",
    "123456789012345678", "9007199254740993.0", "1" + "0" * 400, "-0." + "0" * 400 + "1", "1" * 300 + ".5",
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:30])
def test_numbers_keep_all_their_digits_from_one_read_to_the_next(office: Office, number: str) -> None:
    written = format(Decimal(number), "f")
    fields = f'"doc": {{"a": [{number}]}}, "note": [{number}], "exact": {number}, "sums": [{number}]'
    shown = (f'"doc":{{"a": [{written}]}}', f'"note":[{written}]', f'"exact":"{written}"', f'"sums":["{written}"]')

    def holds(record: str) -> None:
        assert [each for each in shown if each not in record] == []

    first = create_record(office.edit(NOW), KITCHENS, f"{{{fields}}}".encode()).body
    holds(first)
    record_id = json.loads(first)["data"]["id"]
    before = rows(office)
    holds(read_record(office.tenant, KITCHENS, record_id))
    holds(change_record(office.edit(NOW), KITCHENS, record_id, f"{{{fields}}}".encode(), None))
    update = f'{{"updates": [{{"id": "{record_id}", {fields}}}, {{"id": "{record_id}9", {fields}}}]}}'
    assert data(change_records(office.edit(NOW), KITCHENS, update.encode()))["updated"] == 1
    assert rows(office) == before
    options = '"options": {"skipInvalid": true, "returnFailures": true}'
    body = f'{{"items": [{{{fields}}}, {{"flag": [{number}]}}], {options}}}'
    imported = import_items(office.edit(NOW), KITCHENS, body.encode()).body
    holds(imported)
    assert f'"item":{{"flag":[{number}]}}' in imported

    assert import_file(office, "ndjson", f"{{{fields}}}\n".encode(), "fail") == ("c", [])
    cells = io.StringIO(newline="")
    row = [f'{{"a": [{number}]}}', f"[{number}]", number, f"[{number}]"]
    csv.writer(cells).writerows([["doc", "note", "exact", "sums"], row])
    assert import_file(office, "csv", cells.getvalue().encode(), "fail") == ("c", [])
    same = (
        "SELECT id::text FROM kitchens WHERE (doc::text, note::jsonb::text, exact::text, sums::text) = (%s, %s, %s, %s)"
    )
    alike = office.run(same, f'{{"a": [{written}]}}', f"[{written}]", written, f"{{{written}}}")
    assert len(alike) == 4
    for (each,) in alike:
        holds(read_record(office.tenant, KITCHENS, each))
    office.run("DELETE FROM kitchens WHERE id = ANY(%s::bigint[])", [each for (each,) in alike])


LONG_WHOLE = "1" + "2" * 4_999
"""More digits than Python makes a whole number of."""


def test_a_whole_number_of_the_owners_may_be_longer_than_python_reads(office: Office) -> None:
    marks = f"'{{\"a\": {LONG_WHOLE}}}', '[{LONG_WHOLE}]', {LONG_WHOLE}, '{{{LONG_WHOLE}}}'"
    [(record_id,)] = office.run(
        "INSERT INTO kitchens (doc, note, exact, sums, flag, created_at, updated_at)"
        f" VALUES ({marks}, true, now(), now()) RETURNING id::text"
    )
    told = [
        read_record(office.tenant, KITCHENS, record_id),
        list_records(office.tenant, KITCHENS, {"ids": record_id}),
        change_record(office.edit(NOW), KITCHENS, record_id, b'{"flag": false}', None),
    ]
    assert [each.count(LONG_WHOLE) for each in told] == [4] * 3
    update = f'{{"updates": [{{"id": "{record_id}", "flag": true}}]}}'
    changed = change_records(office.edit(NOW), KITCHENS, update.encode()).body
    operation = json.loads(changed, parse_int=str)["data"]["operationId"]
    assert json.loads(bulk_undo(office.edit(NOW), UndoRequest(operationId=operation)).body)["failed"] == 0
    [(stored, flag)] = office.run("SELECT kitchens::text, flag FROM kitchens WHERE id::text = %s", record_id)
    assert (stored.count(LONG_WHOLE), flag) == (4, False)
    for written in ("csv", "ndjson", "json"):
        assert export(office, written, [record_id]).decode().count(LONG_WHOLE) == 4, written
    for packed in ("xlsx", "parquet"):
        assert export(office, packed, [record_id])
    line = f'{{"exact": {LONG_WHOLE}, "doc": {LONG_WHOLE}}}\n'.encode()
    assert import_file(office, "ndjson", line, "fail") == ("c", [])
    office.run("DELETE FROM kitchens WHERE exact::text = %s", LONG_WHOLE)


@pytest.mark.parametrize("left", ["1e400", LONG_WHOLE, f'[{{"a": -{LONG_WHOLE}}}]', "9" * 200_000])
def test_a_number_that_no_double_holds_does_not_matter_in_a_key_that_is_left_out(left: str) -> None:
    line = f'{{"left": {left}, "flag": true}}\n'.encode()
    file: Any = io.BufferedReader(io.BytesIO(line))  # type: ignore[arg-type]
    rows = list(open_rows(Layout("ndjson", None, None, False), file))
    preparer = Preparer(KITCHENS, "import", "ndjson", None, Naming(KITCHENS, {"left": None}))
    assert preparer.prepare(Batch(0, rows, 0, 0, 0, True, None)).failures == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ip", "nowhere"),
        ("place", "here"),
        ("period", "[5,1)"),
        ("nets", ["nowhere"]),
        ("path", "$."),
        ("words", "a &"),
    ],
)
def test_what_only_postgres_can_judge_is_told_by_its_field_too(office: Office, field: str, value: Json) -> None:
    with pytest.raises(BadRequestError) as refused:
        create_record(office.edit(NOW), KITCHENS, sent({field: value}))
    assert [detail["field"] for detail in refused.value.details or []] == [field]


def test_filters_and_orders_read_the_types(office: Office) -> None:
    [first] = insert(office, [dict.fromkeys(TYPES) | {"exact": "7.50", "ref": "0" * 8 + "-0000-0000-0000-" + "1" * 12}])
    for query in ({"exact": "7.5"}, {"ref": "00000000-0000-0000-0000-111111111111"}):
        listed = json.loads(list_records(office.tenant, KITCHENS, query | {"limit": "100"}))
        assert first in [record["id"] for record in listed["data"]]
    for query in ({"exact": "x"}, {"ref": "x"}, {"born": "now"}, {"span": "x"}, {"sort": "doc"}, {"sort": "tags"}):
        with pytest.raises(BadRequestError) as refused:
            list_records(office.tenant, KITCHENS, query)
        assert [detail["field"] for detail in refused.value.details or []] == [*query]
    with pytest.raises(BadRequestError):
        list_records(office.tenant, KITCHENS, {"sort": "place"})
    assert json.loads(list_records(office.tenant, KITCHENS, {"ip": "nowhere"}))["data"] == []


def test_a_change_of_spelling_is_a_change(office: Office) -> None:
    [made] = insert(
        office, [dict.fromkeys(TYPES) | {"exact": "1.10", "span": "1 mon", "moment": "2026-01-31 09:00:00.123456+00"}]
    )
    record = json.loads(read_record(office.tenant, KITCHENS, made))
    assert record["moment"] == "2026-01-31T09:00:00.123456Z"
    for field, value in (("exact", "1.1"), ("span", "30 days"), ("place", "(1,2)"), ("note", {"a": 1})):
        told = json.loads(change_record(office.edit(NOW), KITCHENS, made, sent({field: value}), None))
        assert told[field] == value
    assert told["size"] == 7


def test_a_default_of_the_database_fills_what_is_left_out(office: Office) -> None:
    items = [{"flag": True}, {"flag": False, "size": 9}]
    made = data(import_items(office.edit(NOW), KITCHENS, sent({"items": items})))["items"]
    assert [item["size"] for item in made] == [7, 9]
    assert data(create_record(office.edit(NOW), KITCHENS, sent({})))["size"] == 7
    assert import_file(office, "csv", b"flag,size\ntrue,\nfalse,5\n", "fail") == ("cc", [])
    assert [row[0] for row in office.run("SELECT size FROM kitchens ORDER BY id DESC LIMIT 2")] == [5, 7]


@pytest.mark.parametrize("office", [OLDER], indirect=True)
def test_an_hstore_is_a_text_that_post_and_patch_take(office: Office) -> None:
    written = ['"a"=>"1", "b"=>NULL', '"1"=>"one, \\"two\\"", "ö"=>""', ""]
    statement = "INSERT INTO jars (facts, created_at, updated_at) VALUES (%s::public.hstore, now(), now()) RETURNING id"
    ids = [str(office.run(statement, each)[0][0]) for each in written]
    gone = str(office.run("INSERT INTO jars (created_at, updated_at) VALUES (now(), now()) RETURNING id")[0][0])

    def facts(*of: str) -> list[str | None]:
        found = dict(office.run("SELECT id::text, facts::text FROM jars"))
        return [found[each] for each in of]

    assert facts(*ids) == written
    records = [json.loads(read_record(office.tenant, JARS, each)) for each in (*ids, gone)]
    assert [record["facts"] for record in records] == [*written, None]
    copies = data(import_items(office.edit(NOW), JARS, sent({"items": [{"facts": r["facts"]} for r in records]})))[
        "items"
    ]
    copied = [copy["id"] for copy in copies]
    assert facts(*copied) == [*written, None]
    updates = [{"id": each, "facts": f} for each, f in zip(copied, [None, *reversed(written)], strict=True)]
    changed = data(change_records(office.edit(NOW), JARS, sent({"updates": updates})))
    assert facts(*copied) == [None, *reversed(written)]
    undone = json.loads(bulk_undo(office.edit(NOW), UndoRequest(operationId=changed["operationId"])).body)
    assert undone["failed"] == 0, undone
    assert facts(*copied) == [*written, None]
    for call in (
        lambda: change_record(office.edit(NOW), JARS, copied[0], sent({"facts": "no hstore"}), None),
        lambda: create_record(office.edit(NOW), JARS, sent({"facts": '"a"=>'})),
    ):
        with pytest.raises(StowageError, match="does not fit"):
            call()
    bad = [{"id": copied[0], "facts": "no hstore"}, {"id": copied[1], "facts": '"z"=>"1"'}]
    partly = data(change_records(office.edit(NOW), JARS, sent({"updates": bad})))
    assert [failure["id"] for failure in partly["failures"]] == [copied[0]]
    assert facts(*copied[:2]) == [written[0], '"z"=>"1"']
