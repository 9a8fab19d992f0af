"""Workbooks as other programs write them: what Excel opens is read, what it does not open is refused in our words."""

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import openpyxl
import pytest
import xlsxwriter

from stowage.basics.errors import RunError
from stowage.entities.declared import ENTITIES, make_entity
from stowage.entities.language import read_declarations
from stowage.imports.files.columns import Naming
from stowage.imports.files.opening import open_rows
from stowage.imports.files.preparing import Batch, Preparer
from stowage.imports.files.reading import Broken, Layout, Row, Rows
from stowage.imports.files.reading.workbook import parts as parts_module
from stowage.imports.files.reading.workbook.cells import as_text
from stowage.imports.files.reading.workbook.formats import kind_of, with_zeros, zeros_of
from tests.unit.workbook_parts import (
    MAIN,
    RELATIONS,
    STRICT_MAIN,
    STRICT_RELATIONS,
    Part,
    book,
    parts,
    relations,
    sheet,
    text_row,
    workbook,
    zipped,
)

HEADER = text_row("a", "b")
ROW = text_row("1", "2")
PLAIN = [["1", "2"]]


def opened(data: bytes, **layout: Any) -> Rows:
    return open_rows(Layout("xlsx", **layout), io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]


def cells(data: bytes) -> list[Any]:
    """The cells of each row."""
    return [row for _, row in opened(data)]


def changed(**changes: Part | None) -> bytes:
    """The plainest workbook with other parts; None takes one away."""
    found: dict[str, Part | None] = {**parts(sheet(HEADER, ROW)), **changes}
    return zipped({name: content for name, content in found.items() if content is not None})


def renamed(rename: Callable[[str], str]) -> bytes:
    """The plainest workbook with its parts under other names."""
    texts = f'<sst xmlns="{MAIN}"><si><t>1</t></si></sst>'
    row = '<row><c t="s"><v>0</v></c><c t="str"><v>2</v></c></row>'
    return zipped({rename(name): part for name, part in parts(sheet(HEADER, row), texts=texts).items()})


def with_targets(target: str, *, at_root: str = "xl/workbook.xml") -> bytes:
    """The plainest workbook whose sheet is named so by its relation."""
    return changed(
        **{
            "xl/_rels/workbook.xml.rels": relations(("r1", "worksheet", target)),
            "_rels/.rels": relations(("r", "officeDocument", at_root)),
        }
    )


def strict() -> bytes:
    """A strict workbook, whose namespaces are others."""
    found = {
        name: str(part).replace(MAIN, STRICT_MAIN).replace(RELATIONS, STRICT_RELATIONS)
        for name, part in parts(sheet(HEADER, ROW)).items()
    }
    return zipped(found)


def prefixed() -> bytes:
    """A workbook whose elements all bear a prefix."""
    xml = (
        f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData><x:row><x:c t="inlineStr"><x:is><x:t>a</x:t></x:is></x:c>'
        '<x:c t="str"><x:v>b</x:v></x:c></x:row><x:row><x:c t="str"><x:v>1</x:v></x:c><x:c t="str"><x:v>2</x:v></x:c>'
        "</x:row></x:sheetData></x:worksheet>"
    )
    books = (
        f'<x:workbook xmlns:x="{MAIN}" xmlns:q="{RELATIONS}"><x:sheets><x:sheet name="S" sheetId="1" q:id="r1"/>'
        "</x:sheets></x:workbook>"
    )
    return changed(**{"xl/workbook.xml": books, "xl/worksheets/sheet1.xml": xml})


UTF_16 = sheet(HEADER, ROW).replace('version="1.0"', 'version="1.0" encoding="UTF-16"').encode("utf-16")
LATIN = sheet(text_row("a", "b"), text_row("1", "2")).replace('"1.0"', '"1.0" encoding="windows-1252"').encode("cp1252")


@pytest.mark.parametrize(
    "data",
    [
        renamed(str.upper),
        renamed(lambda name: name.replace("sharedStrings", "SharedStrings")),
        renamed(lambda name: name.replace("/", "\\")),
        renamed(lambda name: f"/{name}"),
        renamed(lambda name: name.replace("sheet1", "sheet%31")),
        with_targets("/xl/worksheets/sheet1.xml"),
        with_targets("./worksheets/../worksheets/sheet1.xml"),
        with_targets("worksheets\\sheet1.xml"),
        with_targets("WORKSHEETS/Sheet1.XML", at_root="/xl/workbook.xml"),
        strict(),
        prefixed(),
        changed(**{"xl/worksheets/sheet1.xml": UTF_16}),
        changed(**{"xl/worksheets/sheet1.xml": b"\xef\xbb\xbf" + sheet(HEADER, ROW).encode()}),
        changed(**{"xl/worksheets/sheet1.xml": LATIN}),
        changed(**{"_rels/.rels": None}),
        changed(**{"xl/worksheets/sheet1.xml": sheet(HEADER, ROW).replace(f' xmlns="{MAIN}"', "")}),
        changed(**{
            "xl/_rels/workbook.xml.rels": relations(
                ("r1", "worksheet", "worksheets/sheet1.xml"),
                ("r2", "styles", "styles.xml"),
                ("r3", "sharedStrings", "sharedStrings.xml"),
                ("r4", "theme", "theme/theme1.xml"),
            )
        }),
        zipped(parts(sheet(HEADER, ROW)), zipfile.ZIP_STORED),
        b"what an installer put before it" + zipped(parts(sheet(HEADER, ROW))),
        workbook(sheet("<row/>", text_row("", " "), HEADER, ROW)),
        workbook(sheet(), sheet(HEADER, ROW)),
        workbook(sheet(HEADER), sheet(HEADER, ROW)),
        workbook(sheet(text_row("secret")), sheet(HEADER, ROW), states=("hidden", "")),
        workbook(sheet(HEADER, ROW), sheet(text_row("x"), ROW), states=("visible", "veryHidden")),
        zipped(
            parts(sheet(HEADER, ROW))
            | {
                "xl/workbook.xml": book(("S", ""), ("Chart", "")),
                "xl/_rels/workbook.xml.rels": relations(
                    ("r1", "worksheet", "worksheets/sheet1.xml"), ("r2", "chartsheet", "chartsheets/sheet1.xml")
                ),
            }
        ),
        zipped(parts(sheet(HEADER, ROW)) | {"xl/workbook.xml": book(("S", ""), ("Gone", ""))}),
    ],
    ids=[
        "capitals", "SharedStrings", "backslashes", "slash before", "percent", "absolute", "dots", "backslash target",
        "target in other case", "strict", "prefixes", "UTF-16", "mark", "windows-1252", "no relations",
        "no namespace", "optional parts missing", "stored", "bytes before the zip", "blank rows first",
        "empty first sheet", "header alone", "hidden", "very hidden", "chart", "no such sheet",
    ],
)  # fmt: skip
def test_what_excel_opens_is_read(data: bytes) -> None:
    assert cells(data) == PLAIN


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (workbook(sheet(HEADER), states=("hidden",)), "no visible sheet"),
        (workbook(sheet()), "no header"),
        (workbook(sheet(HEADER, ROW), sheet(text_row("x", "y"))), "'Sheet 2' has another header than 'Sheet 1'"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "old kind"),
        (b"a,b\r\n1,2\r\n", "no Excel workbook"),
        (b"", "no Excel workbook"),
        (zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"}), "OpenDocument"),
        (changed(**{"_rels/.rels": relations(("r", "officeDocument", "xl/workbook.bin"))}), ".xlsb"),
        (zipped(parts(sheet(HEADER, ROW)), zipfile.ZIP_LZMA), "compressed in a way"),
        (zipped(parts(sheet(HEADER, ROW)))[:-30], "not a whole one"),
        (changed(**{"xl/worksheets/sheet1.xml": None}), "missing"),
        (changed(**{"xl/worksheets/sheet1.xml": "no XML"}), "not a whole one"),
        (changed(**{"xl/workbook.xml": "<workbook/>"}), "no visible sheet"),
        (workbook(sheet(HEADER, '<row><c t="s"><v>x</v></c></row>')), "shared text that is not there"),
        (workbook(sheet(HEADER, '<row><c t="s"><v>1e400</v></c></row>')), "shared text that is not there"),
        (workbook(sheet(HEADER, '<row><c r="1A"><v>1</v></c></row>')), "no place"),
        (workbook(sheet(HEADER, '<row r="-1"><c><v>1</v></c></row>')), "no place"),
        (workbook(sheet(HEADER, f'<row r="{10**30}"><c><v>1</v></c></row>')), "no place"),
        (workbook(sheet(HEADER, '<row r="two"><c><v>1</v></c></row>')), "damaged"),
        (workbook(sheet(HEADER, '<row><c s="bold"><v>1</v></c></row>')), "damaged"),
        (workbook(sheet(HEADER, ROW), styles='<styleSheet><numFmt numFmtId="x"/></styleSheet>'), "damaged"),
    ],
)  # fmt: skip
def test_what_nobody_reads_is_refused_at_once_in_our_words(data: bytes, words: str) -> None:
    with pytest.raises(RunError, match=words) as refused:
        cells(data)
    assert refused.value.code == "broken_file"
    assert not refused.value.retryable


STYLES = ("xl/styles.xml", "<styleSheet>", "</styleSheet>")
BOOK_PART = ("xl/workbook.xml", book(("S", "")).removesuffix("</workbook>"), "</workbook>")
RELATED = (
    "xl/_rels/workbook.xml.rels",
    relations(("r1", "worksheet", "worksheets/sheet1.xml"))[:-16],
    "</Relationships>",
)
LISTS = {
    "number formats": (STYLES, '<numFmt numFmtId="200" formatCode="0.00"/>'),
    "long number formats": (STYLES, f'<numFmt numFmtId="200" formatCode="{"0" * 4_000}"/>'),
    "styles of tables": (STYLES, "<dxf/>"),
    "names of ranges": (BOOK_PART, '<definedName name="a">A1</definedName>'),
    "relations to elsewhere": (RELATED, '<Relationship Id="x" Target="x" TargetMode="External"/>'),
}


def listing(listed: str, size: int) -> bytes:
    """A workbook of which one part lists things in about so many bytes."""
    (part, begin, end), piece = LISTS[listed]
    whole = parts(sheet(HEADER, ROW), styles="<styleSheet/>")
    return zipped(whole | {part: begin + piece * (size // len(piece)) + end})


@pytest.mark.parametrize("listed", LISTS)
def test_a_list_longer_than_any_workbooks_is_refused_at_once(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "MOST_LISTED_BYTES", 300_000)
    assert cells(listing(listed, 200_000)) == PLAIN
    with pytest.raises(RunError, match="more sheets, formats or styles than can be read") as refused:
        cells(listing(listed, 500_000))
    assert (refused.value.code, refused.value.retryable) == ("broken_file", False)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def test_a_workbook_with_any_byte_altered_is_read_or_refused_in_our_words() -> None:
    whole = xlsx_by_openpyxl([["a", "b"], ["x", 1], [date(2024, 1, 1), None]])
    found = set()
    for place in range(0, len(whole), 7):
        try:
            cells(flipped(whole, place))
        except RunError as refused:
            found.add(refused.code)
    assert found == {"broken_file"}


# Cells


def one(cell: str, **given: Any) -> Any:
    """The value of one cell, as it is read."""
    (row,) = cells(workbook(sheet(HEADER, f'<row><c t="str"><v>x</v></c>{cell}</row>'), **given))
    return row[1]


TEXTS = (
    f'<sst xmlns="{MAIN}"><si><t/></si><si/><si><t xml:space="preserve"> a </t></si>'
    '<si><r><t>rich </t></r><r><rPr><b/></rPr><t>text</t></r></si>'
    '<si><t>日本</t><rPh sb="0" eb="2"><t>にほん</t></rPh></si><si><t>_x0041__x005F_x000D__xD83D__xDE00_</t></si></sst>'
)  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('<c t="s"><v/></c>', None),
        ('<c t="s"/>', None),
        ('<c t="s"><v>0</v></c>', ""),
        ('<c t="s"><v>1</v></c>', ""),
        ('<c t="s"><v>2</v></c>', " a "),
        ('<c t="s"><v>3</v></c>', "rich text"),
        ('<c t="s"><v> 4 </v></c>', "日本"),
        ('<c t="s"><v>5</v></c>', "A_x000D_😀"),
        ('<c t="inlineStr"><is><t xml:space="preserve"> b </t></is></c>', " b "),
        ('<c t="inlineStr"><is><r><t>c</t></r><r><t>d</t></r></is></c>', "cd"),
        ('<c t="inlineStr"><is/></c>', None),
        ('<c t="inlineStr"><is><t/></is></c>', ""),
        ('<c t="str"><f>A1</f><v>=x</v></c>', "=x"),
        ('<c t="str"><f>A1</f><v></v></c>', ""),
        ("<c/>", None),
        ('<c t="b"><v>1</v></c>', True),
        ('<c t="b"><v>FALSE</v></c>', False),
        ("<c><v>7</v></c>", 7),
        ("<c><v>7.0</v></c>", 7.0),
        ("<c><v>-7</v></c>", -7),
        ('<c t="n"><v> 7 </v></c>', 7),
        ("<c><v>491701234567</v></c>", 491701234567),
        ("<c><v>12345678901234567</v></c>", 12345678901234567),
        ("<c><v>1.2345678901234567E+17</v></c>", 123456789012345670),
        ("<c><v>1E+20</v></c>", 10**20),
        ("<c><v>1e-7</v></c>", 1e-7),
        ("<c><v>1_000</v></c>", "1_000"),
        ("<c><v>nan</v></c>", "nan"),
        ('<c t="d"><v>2024-02-29</v></c>', date(2024, 2, 29)),
        ('<c t="d"><v>2024-02-29T12:00:00.5</v></c>', datetime(2024, 2, 29, 12, 0, 0, 500_000, tzinfo=UTC)),
        ('<c t="d"><v>12:30:00</v></c>', time(12, 30)),
        ('<c t="d"><v>soon</v></c>', "soon"),
        ('<c t="unheard-of"><v>5</v></c>', 5),
        ('<c s="99"><v>5</v></c>', 5),
    ],
)
def test_a_cell_is_what_excel_shows(cell: str, value: Any) -> None:
    found = one(cell, texts=TEXTS)
    assert (found, type(found)) == (value, type(value))


SUMS = """
[sums]
key = "id bigint database"
[sums.fields]
exact = "numeric"
price = "numeric(12, 2)"
whole = "bigint"
double = "float8"
"""


@pytest.mark.parametrize(
    ("cell", "stored"),
    [
        # As Excel writes 19.99, and 0.1 + 0.2; what it shows of both has 15 digits at most.
        ("<c><v>19.989999999999998</v></c>", {"exact": "19.99", "price": "19.99", "double": 19.99}),
        ("<c><f>A1+B1</f><v>0.30000000000000004</v></c>", {"exact": "0.3", "price": "0.3", "double": 0.1 + 0.2}),
        ("<c><v>2549.8999999999996</v></c>", {"exact": "2549.9", "price": "2549.9"}),
        ("<c><v>-1.4210854715202004E-14</v></c>", {"exact": None, "double": -1.4210854715202004e-14}),
        ("<c><v>123456789.12345679</v></c>", {"exact": None, "price": None, "double": 123456789.12345679}),
        ("<c><v>12345678901234567</v></c>", {"exact": "12345678901234567", "whole": 12345678901234567}),
        ("<c><v>12345678901234567890</v></c>", {"exact": "12345678901234567890", "whole": None}),
        ("<c><v>1.2345678901234567E+17</v></c>", {"exact": "123456789012345670", "whole": 123456789012345670}),
        # As Java's programs write whole numbers.
        ("<c><v>7.0</v></c>", {"exact": "7", "price": "7", "whole": 7, "double": 7.0}),
        ("<c><v>1.0E7</v></c>", {"exact": "10000000", "whole": 10_000_000}),
        ("<c><v>7.5</v></c>", {"whole": None, "price": "7.5"}),
        ("<c><v>7.125</v></c>", {"price": None, "exact": "7.125"}),
        ('<c t="str"><v>0.1234567890123456789</v></c>', {"exact": "0.1234567890123456789"}),
        ('<c t="str"><v>12345678901234567.25</v></c>', {"exact": "12345678901234567.25"}),
    ],
)
def test_a_number_is_stored_as_it_is_shown_or_fails_its_row(
    monkeypatch: pytest.MonkeyPatch, cell: str, stored: dict[str, Any]
) -> None:
    literals = read_declarations({"tables.toml": SUMS})
    entity = make_entity("sums", literals["sums"], literals)
    monkeypatch.setitem(ENTITIES._made, "sums", entity)
    monkeypatch.setitem(ENTITIES._literals, "sums", {})
    preparer = Preparer(entity, "run", "xlsx", None, Naming(entity, {}))
    rows: list[tuple[int, Row]] = [(0, {name: one(cell)}) for name in stored]
    prepared = preparer.prepare(Batch(0, rows, 0, 0, 0, True, None))
    found = {name: prepared.records.get(n, {name: None})[name] for n, name in enumerate(stored, 1)}
    assert found == stored, prepared.failures


def test_an_error_is_its_cells_alone() -> None:
    found = one('<c t="e"><v>#N/A</v></c>')
    assert isinstance(found, Broken)
    assert (found.code, found.text) == ("cell_error", "#N/A")


@pytest.mark.parametrize("text", ["1E400", "-1e400", "1E+999999", "9" * 400 + ".5"])
@pytest.mark.parametrize("style", ["", ' s="1"'])
def test_a_number_that_no_double_holds_is_never_infinity(text: str, style: str) -> None:
    found = one(f"<c{style}><v>{text}</v></c>")
    assert isinstance(found, Broken)
    assert (found.code, found.text) in (("invalid", text), ("invalid_date", text))
    assert text[:50] in found.error


@pytest.mark.parametrize(
    "cell",
    [
        "<c><f>1+1</f><v/></c>",
        "<c><f>1+1</f></c>",
        '<c t="n"><f>1+1</f><v></v></c>',
        '<c t="str"><f>A1</f></c>',
        '<c><f t="shared" si="0"/></c>',
        '<c s="1"><f t="array" ref="B2">1+1</f><v/></c>',
    ],
)
def test_a_formula_that_nobody_has_computed_is_no_empty_cell(cell: str) -> None:
    found = one(cell)
    assert isinstance(found, Broken)
    assert (found.code, found.text) == ("cell_error", "")
    assert "formula without its result" in found.error


def test_formulas_as_openpyxl_writes_them_fail_their_cell_and_no_other() -> None:
    written = openpyxl.Workbook()
    assert written.active is not None
    for row in (["a", "b"], ["1", "=A2&1"], ["2", "x"]):
        written.active.append(row)
    data = io.BytesIO()
    written.save(data)
    (_, first), second = cells(data.getvalue())
    assert isinstance(first, Broken)
    assert second == ["2", "x"]


def formatted(code: str, value: str, properties: str = "") -> Any:
    """A number in a format; the value as it is read."""
    styles = (
        f'<styleSheet xmlns="{MAIN}"><numFmts><numFmt numFmtId="200" formatCode="{code}"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="200"/></cellXfs></styleSheet>'
    )
    return one(f'<c s="1"><v>{value}</v></c>', styles=styles, properties=properties)


SINCE_1904 = '<workbookPr date1904="1"/>'


@pytest.mark.parametrize(
    ("code", "value", "properties", "read", "text"),
    [
        ("yyyy-mm-dd", "46106", "", date(2026, 3, 25), "2026-03-25"),
        ("dd/mm/yy;@", "46106", "", date(2026, 3, 25), "2026-03-25"),
        ("mmm", "46106", "", date(2026, 3, 25), "2026-03-25"),
        ("[$-409]d\\-mmm\\-yy", "46106.5", "", datetime(2026, 3, 25, 12, tzinfo=UTC), "2026-03-25 12:00:00Z"),
        ("yyyy-mm-dd hh:mm", "46106", "", datetime(2026, 3, 25, tzinfo=UTC), "2026-03-25 00:00:00Z"),
        ("h:mm", "46106.5", "", datetime(2026, 3, 25, 12, tzinfo=UTC), "2026-03-25 12:00:00Z"),
        ("h:mm:ss AM/PM", "0.5208333333333334", "", time(12, 30), "12:30:00"),
        ("mm:ss.0", "0.5", "", time(12), "12:00:00"),
        ("yyyy-mm-dd hh:mm", "0.25", "", time(6), "06:00:00"),
        ("hh:mm", "0", "", time(0), "00:00:00"),
        ("[hh]:mm:ss", "1.5", "", timedelta(hours=36), "36:00:00"),
        ("[mm]:ss", "0.0005787037037037037", "", timedelta(seconds=50), "0:00:50"),
        ("[h]:mm", "-0.25", "", timedelta(hours=-6), "-6:00:00"),
        ("yyyy-mm-dd", "1", "", date(1900, 1, 1), "1900-01-01"),
        ("yyyy-mm-dd", "59", "", date(1900, 2, 28), "1900-02-28"),
        ("yyyy-mm-dd", "60", "", "1900-02-29", "1900-02-29"),
        ("yyyy-mm-dd hh:mm", "60.5", "", "1900-02-29 12:00:00Z", "1900-02-29 12:00:00Z"),
        ("yyyy-mm-dd", "61", "", date(1900, 3, 1), "1900-03-01"),
        ("yyyy-mm-dd", "59", SINCE_1904, date(1904, 2, 29), "1904-02-29"),
        ("yyyy-mm-dd", "0", SINCE_1904, date(1904, 1, 1), "1904-01-01"),
        ("h:mm", "0.5", SINCE_1904, time(12), "12:00:00"),
        ("General", "46106", "", 46106, "46106"),
        ("0.00&quot; days&quot;", "1.5", "", 1.5, "1.5"),
        ("#,##0.00", "1234.5", "", 1234.5, "1234.5"),
        ("0%", "0.5", "", 0.5, "0.5"),
        ("[Red]0.00E+00", "100", "", 100, "100"),
        ("00000", "123", "", 123, "00123"),
        ("000-00-0000", "12345678", "", 12345678, "012-34-5678"),
        ("00000", "1234567", "", 1234567, "1234567"),
        ("00000;-00000", "-5", "", -5, "-00005"),
        ("&quot;A-&quot;000", "7", "", 7, "A-007"),
        ("00.00", "5.5", "", 5.5, "5.5"),
        ("00000", "1.5", "", 1.5, "1.5"),
    ],
)
def test_a_number_is_what_its_format_says(code: str, value: str, properties: str, read: Any, text: str) -> None:
    found = formatted(code, value, properties)
    assert found == read
    assert as_text(found) == text


@pytest.mark.parametrize("value", ["-1", "2958466", "1e300", "-0.5"])
def test_a_number_that_is_no_date_is_an_error_of_its_cell(value: str) -> None:
    assert isinstance(formatted("yyyy-mm-dd", value), Broken)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-7, "0.0000001"), (0.1, "0.1"), (5.0, "5"), (1e300, "1e+300"), (-2.5e-5, "-0.000025"), (0.0, "0")],
)
def test_a_number_in_a_field_of_text_has_no_exponent(value: float, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("number", range(60))
def test_built_in_formats_are_dates_as_openpyxl_has_them(number: int) -> None:
    code = openpyxl.styles.numbers.BUILTIN_FORMATS.get(number)
    if code is not None:
        assert kind_of(number, None) == kind_of(200, code)


@pytest.mark.parametrize("code", ["#,##0", "0", "0.0", "# ?/?", "@", "00/00", "0000E+00", "(###) 000", "00#"])
def test_other_formats_show_no_leading_zeros(code: str) -> None:
    assert zeros_of(code) is None


def test_digits_that_find_no_place_stand_first() -> None:
    assert with_zeros(12345, "00-00") == "123-45"


# Rows


def test_a_row_without_any_value_is_counted_and_passed_over() -> None:
    rows = opened(workbook(sheet(HEADER, '<row><c t="str"><v></v></c><c/></row>', text_row(" ", "\t"), ROW)))
    assert list(rows) == [(4, ["1", "2"])]
    assert rows.blank == 2


def test_cells_beyond_the_header_fail_their_row_unless_they_are_left_out() -> None:
    data = workbook(sheet(HEADER, text_row("1", "2", "3"), '<row><c r="A3"><v>4</v></c><c r="D3"/></row>'))
    (_, broken), (_, good) = opened(data)
    assert isinstance(broken, Broken)
    assert (broken.code, broken.cells) == ("wrong_columns", ("1", "2"))
    assert good == [4, None]
    assert [row for _, row in opened(data, drops_unnamed=True)] == [["1", "2"], [4, None]]


def test_cells_stand_where_they_say() -> None:
    row = '<row r="5"><c r="b5"><v>2</v></c><c r="A5"><v>9</v></c><c r="A5"><v>1</v></c><c><v>2</v></c></row>'
    assert list(opened(workbook(sheet(HEADER, row)))) == [(5, [1, 2])]


def test_a_sheet_that_is_listed_twice_is_read_once() -> None:
    found = parts(sheet(HEADER, ROW)) | {
        "xl/workbook.xml": book(("A", ""), ("B", "")),
        "xl/_rels/workbook.xml.rels": relations(
            ("r1", "worksheet", "worksheets/sheet1.xml"), ("r2", "worksheet", "/xl/worksheets/sheet1.xml")
        ),
    }
    assert cells(zipped(found)) == PLAIN


# As other programs write them


def xlsx_by_openpyxl(rows: list[list[Any]]) -> bytes:
    made = openpyxl.Workbook()
    assert made.active is not None
    for row in rows:
        made.active.append(row)
    made.create_sheet("lists").sheet_state = "veryHidden"
    made["lists"].append(["choice"])
    data = io.BytesIO()
    made.save(data)
    made.close()
    return data.getvalue()


def xlsx_by_xlsxwriter(rows: list[list[Any]], **options: Any) -> bytes:
    data = io.BytesIO()
    made = xlsxwriter.Workbook(data, {"in_memory": True, **options})
    formats = {
        datetime: made.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        date: made.add_format({"num_format": "d mmmm yyyy"}),
        time: made.add_format({"num_format": "hh:mm:ss"}),
        timedelta: made.add_format({"num_format": "[hh]:mm:ss"}),
    }
    written = made.add_worksheet()
    for n, row in enumerate(rows):
        for column, value in enumerate(row):
            written.write(n, column, value, formats.get(type(value)))
    hidden = made.add_worksheet("lists")
    hidden.write(0, 0, "choice")
    hidden.hide()
    made.close()
    return data.getvalue()


VALUES: list[Any] = [
    "text", " spaces ", "a\nb", "a & <b>", "日本😀", 7, -1.5, 123456789012, True, False,
    datetime(2024, 2, 29, 12, 30, 15),  # noqa: DTZ001 (a workbook's clock has no zone)
    date(2024, 2, 29), time(12, 30), timedelta(hours=36, minutes=5),
    date(1900, 1, 1), date(1900, 2, 28), date(1900, 3, 1), date(9999, 12, 31),
]  # fmt: skip


def in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


@pytest.mark.parametrize("write", [xlsx_by_openpyxl, xlsx_by_xlsxwriter], ids=["openpyxl", "xlsxwriter"])
def test_what_other_programs_write_comes_back(write: Callable[..., bytes]) -> None:
    rows: list[Row] = list(opened(write([["n", "value"], *([n, value] for n, value in enumerate(VALUES))])))
    read = [row[1] for _, row in rows if isinstance(row, list)]
    assert read == [in_utc(value) for value in VALUES]


def test_a_text_that_looks_escaped_is_what_excel_would_show() -> None:
    assert cells(xlsx_by_xlsxwriter([["a"], ["_x000D_"], ["_x_"]])) == [["_x000D_"], ["_x_"]]


@pytest.mark.parametrize("options", [{"constant_memory": True}, {"use_zip64": True}, {"date_1904": True}], ids=str)
def test_other_ways_to_write_come_back_too(options: dict[str, Any]) -> None:
    values = [value for value in VALUES if not (isinstance(value, date) and value.year in (1900, 9999))]
    rows = list(
        opened(xlsx_by_xlsxwriter([["n", "value"], *([n, value] for n, value in enumerate(values))], **options))
    )
    assert [row[1] for _, row in rows if isinstance(row, list)] == [in_utc(value) for value in values]
