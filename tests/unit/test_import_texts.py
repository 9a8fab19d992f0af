"""CSV and NDJSON as other programs write them: read where the request says how, else refused with the likely cause."""

import io
import json
import time
from typing import Any

import pytest

from stowage.basics.errors import RunError
from stowage.entities.declared import ENTITIES
from stowage.imports.files.columns import Naming
from stowage.imports.files.opening import open_rows
from stowage.imports.files.reading import Broken, Layout, Place, Rows
from stowage.imports.files.reading.lines import ENCODINGS, codec_of
from stowage.imports.files.reading.rows import MOST_COLUMNS

USERS = ENTITIES["users"]


def opened(data: bytes, file_type: str = "csv", place: Place | None = None, **layout: Any) -> Rows:
    return open_rows(Layout(file_type, **layout), io.BufferedReader(io.BytesIO(data)), place)  # type: ignore[arg-type]


def rows(data: bytes, **layout: Any) -> list[Any]:
    return [row for _, row in opened(data, **layout)]


TABLE = 'name,email\r\nJosé,j@x\r\n"two\r\nlines",t@x\r\n'
READ = [["José", "j@x"], ["two\r\nlines", "t@x"]]


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (TABLE.encode(), {}),
        (TABLE.encode("utf-8-sig"), {}),
        (TABLE.encode(), {"encoding": "utf-8"}),
        (TABLE.encode("utf-8-sig"), {"encoding": "windows-1252"}),
        (TABLE.encode("cp1252"), {"encoding": "windows-1252"}),
        (TABLE.encode("latin-1"), {"encoding": "iso-8859-1"}),
        (TABLE.encode("mac-roman"), {"encoding": "macintosh"}),
        (TABLE.encode("utf-16"), {"encoding": "utf-16"}),
        (TABLE.encode("utf-16-le"), {"encoding": "utf-16"}),
        (b"\xfe\xff" + TABLE.encode("utf-16-be"), {"encoding": "utf-16"}),
        (TABLE.encode("utf-16-be"), {"encoding": "utf-16-be"}),
        (TABLE.encode("utf-32"), {"encoding": "utf-32"}),
        (TABLE.replace(",", ";").encode(), {"delimiter": ";"}),
        (TABLE.replace(",", "\t").encode("utf-16"), {"encoding": "utf-16", "delimiter": "\t"}),
        (("sep=;\r\n" + TABLE.replace(",", ";")).encode(), {"delimiter": ";"}),
        (("\ufeffSEP=,\n" + TABLE).encode(), {"delimiter": ","}),
        (("\r\n , \r\n" + TABLE).encode(), {}),
    ],
)
def test_a_table_is_read_as_the_request_says(data: bytes, layout: dict[str, Any]) -> None:
    reader = opened(data, **layout)
    assert reader.header == ["name", "email"]
    places = [Place(reader.position, reader.line)]
    found = []
    for _, row in reader:
        found.append(row)
        places.append(Place(reader.position, reader.line))
    assert found == READ
    for n, place in enumerate(places):
        assert [row for _, row in opened(data, place=place, **layout)] == READ[n:]


@pytest.mark.parametrize("encoding", [None, "windows-1252", "utf-16-be"])
def test_lone_carriage_returns_are_line_ends_where_the_request_says_how_the_file_is_written(
    encoding: str | None,
) -> None:
    data = 'label,n\rCr A,1\r"Cr\rB",2\r'.encode(encoding or "utf-8")
    found = opened(data, encoding=encoding, delimiter=",")
    assert list(found) == [(2, ["Cr A", "1"]), (3, ["Cr\rB", "2"])]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_that_is_named_is_read_line_by_line(encoding: str) -> None:
    codec = codec_of(encoding)
    assert codec is not None
    # Every character of the first planes that the encoding has, those with a byte like a line feed among them.
    every = "".join(map(chr, range(0xA0, 0x3000))).encode(codec, "ignore").decode(codec, "ignore")
    text = "".join(character for character in every if character not in "\x85\u2028\u2029\ufeff")
    data = f'name,email\n"{text}",1\nb,2\n'.encode(codec)
    assert rows(data, encoding=encoding) == [[text, "1"], ["b", "2"]]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF8", "utf-8"), ("latin1", "iso8859-1"), ("cp1252", "cp1252"), ("Windows-1252", "cp1252"),
        ("base64", None), ("rot13", None), ("utf-7", None), ("idna", None), ("nonsense", None), ("", None),
        ("a\0b", None), ("iso-2022-jp", None),
    ],
)  # fmt: skip
def test_encodings_are_named_as_people_name_them(name: str, codec: str | None) -> None:
    assert codec_of(name) == codec


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TABLE.encode("utf-16"), '"encoding": "utf-16"'),
        (TABLE.encode("utf-32"), '"encoding": "utf-32"'),
        (TABLE.encode("utf-16-le"), '"encoding": "utf-16"'),
        (TABLE.encode("utf-16-be"), '"encoding": "utf-16-be"'),
        (b"name,email\rA,a@x\r", '"delimiter": ","'),
        (b"sep=;\r\nname;email\r\n", '"delimiter": ";"'),
        (b'"name";"email"\n"A";"a@x"\n', '"delimiter": ";"'),
        (b'\xef\xbb\xbf"";"name";"email"\r\n', '"delimiter": ";"'),
        (b'"name"\t"email"\n"A"\t"a@x"\n', '"delimiter": "\\t"'),
        (b'"na|me"|"email"\n', '"delimiter": "|"'),
        (b'"name" "email"\n', "A quote stands inside a cell"),
        (b"PK\x03\x04 a workbook", "workbook"),
        (b"\r\n,,\r\n", "no header"),
        (b"a," * MOST_COLUMNS + b"b\r\n", "16,385 columns; a file may have 16,384"),
    ],
)
def test_what_is_written_otherwise_is_refused_with_the_likely_cause(data: bytes, words: str) -> None:
    with pytest.raises(RunError) as refused:
        opened(data)
    assert refused.value.code == "broken_file"
    assert words in refused.value.message


def test_half_a_character_at_the_end_is_refused() -> None:
    with pytest.raises(RunError, match="no text in utf-16-le"):
        rows(TABLE.encode("utf-16-le") + b"x", encoding="utf-16")


# Rows and columns


def test_rows_of_nothing_are_passed_over_and_counted() -> None:
    found = opened(b'name,email\r\nT1,t1@x\r\n,\r\n\r\n,\r\n  ,\r\n"",""\r\n,,,,\r\n')
    assert list(found) == [(2, ["T1", "t1@x"])]
    assert found.blank == 6


def test_cells_without_a_column_are_blank_or_fail_their_row() -> None:
    data = b"name,email\r\na,b,,\r\na,b,c\r\na\r\n"
    good, more, less = rows(data)
    assert good == ["a", "b"]
    assert isinstance(more, Broken)
    assert isinstance(less, Broken)
    assert (more.code, more.text) == ("wrong_columns", "a,b,c")
    assert rows(data, drops_unnamed=True)[:2] == [["a", "b"], ["a", "b"]]


def matched(header: list[str], mapping: dict[str, str | None] | None = None, **given: Any) -> tuple[Any, Any]:
    columns = Naming(USERS, mapping or {}, **given).match(header)
    return columns.used, columns.unnamed


@pytest.mark.parametrize(
    ("header", "mapping", "ignores", "used", "unnamed"),
    [
        (["name", "email", "", ""], {}, False, ((0, "name"), (1, "email")), (2, 3)),
        (["name", "email", "", ""], {"": None}, False, ((0, "name"), (1, "email")), ()),
        (["name", "email"], {"": None}, False, ((0, "name"), (1, "email")), ()),
        (["", "name"], {"": "email"}, False, ((0, "email"), (1, "name")), ()),
        (["name", "x", "email"], {}, True, ((0, "name"), (2, "email")), ()),
        (["name", "x", "email", "x"], {"x": None}, False, ((0, "name"), (2, "email")), ()),
        (["E", "name"], {"E": "email"}, True, ((0, "email"), (1, "name")), ()),
    ],
)
def test_columns_are_fields_left_out_or_without_a_name(
    header: list[str], mapping: dict[str, str | None], ignores: bool, used: Any, unnamed: Any
) -> None:
    assert matched(header, mapping, ignores_unknown=ignores) == (used, unnamed)


@pytest.mark.parametrize(
    ("header", "mapping", "words"),
    [
        (["name", "email", "%s"], {}, "'%s' is no field of users"),
        (["name", "email", "x", "y"], {}, "'x', 'y' are no fields of users"),
        (["name", "email", "x", "y"], {}, '"ignoreUnknown": true'),
        (["name"], {}, "'email' is missing"),
        (["name", "email"], {"gone": None}, "the mapping names 'gone', which is no column"),
        (["name", "email", "e"], {"e": "email"}, "'email' stands there twice"),
        (["name\temail"], {}, '"delimiter": "\\t"'),
        (["name;email"], {}, '"delimiter": ";"'),
        (["name|email", "x"], {}, '"delimiter": "|"'),
        (["name", "email", "caf\udce9"], {}, '"encoding": "windows-1252"'),
        (["name", "email", *(f"x{n}" for n in range(30))], {}, "and 10 more are no fields"),
        (["Name", " E-Mail"], {}, '"mapping": {"Name": "name", " E-Mail": "email"}'),
        (["name\u00a0", "\ufeffemail"], {}, '"mapping": {"name\u00a0": "name", "\ufeffemail": "email"}'),
        (["name", "email", "created_at"], {}, '"mapping": {"created_at": "createdAt"}'),
    ],
)
def test_a_header_that_does_not_fit_names_what_is_wrong(
    header: list[str], mapping: dict[str, str | None], words: str
) -> None:
    with pytest.raises(RunError) as refused:
        matched(header, mapping)
    assert refused.value.code == "wrong_header"
    assert words in refused.value.message


def test_the_widest_file_is_matched_at_once() -> None:
    header = ["name", "email", *(f"x{n}" for n in range(MOST_COLUMNS - 2))]
    began = time.process_time()
    matched(header, dict.fromkeys(header[2:]))
    with pytest.raises(RunError):
        matched(header)
    assert time.process_time() - began < 1


# NDJSON


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": [1, -Infinity]}', "-Infinity"),
        ('{"a": {"b": Infinity}}', "Infinity"),
        ("1e999", "no JSON object"),
        ("[1e999]", "no list around all of them"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' stands there twice"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"a": 1},', "no comma behind it"),
        ("[", "no list around all of them"),
        ('[{"a": 1},', "no list around all of them"),
        ('[{"a": 1}]', "no list around all of them"),
        ("]", "no list around all of them"),
        ('{"a": ' + "9" * 5_000 + "]", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("7", "no JSON object"),
    ],
)
def test_a_line_that_others_read_otherwise_fails(line: str, words: str) -> None:
    broken, good = rows(f'{line}\n{{"b": 1}}\n'.encode(), file_type="ndjson")
    assert isinstance(broken, Broken)
    assert (broken.code, broken.text) == ("invalid_json", line)
    assert words in broken.error
    assert good == {"b": 1}


@pytest.mark.parametrize(("encoding", "told"), [("utf-8", None), ("utf-8-sig", None), ("utf-16", "utf-16")])
def test_ndjson_with_a_mark_and_in_other_encodings_is_read(encoding: str, told: str | None) -> None:
    data = f"{json.dumps({'a': 'é'}, ensure_ascii=False)}\r\n\r\n {{}} \n".encode(encoding)
    found = opened(data, file_type="ndjson", encoding=told)
    assert [row for _, row in found] == [{"a": "é"}, {}]
    assert found.blank == 1
