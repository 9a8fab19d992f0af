"""Reading files row by row: every row once, from any row on, in the shapes that other programs write."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.basics.errors import RunError
from stowage.imports.files.opening import open_rows
from stowage.imports.files.reading import Broken, Layout, Place, Row

CELLS = st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=12)
)


def rows_of(file_type: str, data: bytes, place: Place | None = None) -> list[Row]:
    """Every row behind a place."""
    return list(open_rows(Layout(file_type), io.BufferedReader(io.BytesIO(data)), place))  # type: ignore[arg-type]


def as_csv(rows: list[list[str | None]]) -> bytes:
    """Rows with null and the empty text apart."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_NOTNULL, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


@given(TABLES)
def test_csv_comes_back_cell_by_cell_and_can_be_resumed_behind_each_row(table: list[list[str | None]]) -> None:
    # A row without any value is none.
    table = [row for row in table if any(cell and not cell.isspace() for cell in row)]
    header = [f"c{n}" for n in range(len(table[0]) if table else 1)]
    data = as_csv([list(header), *table])
    reader = open_rows(Layout("csv"), io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]
    assert reader.header == header
    places = [Place(reader.position, reader.line)]
    found = []
    for row in reader:
        found.append(row)
        places.append(Place(reader.position, reader.line))
    assert [cells for _, cells in found] == table
    for n, place in enumerate(places):
        assert rows_of("csv", data, place) == found[n:]


@given(st.lists(st.dictionaries(st.text(max_size=5), CELLS, max_size=3), max_size=10))
def test_ndjson_can_be_resumed_behind_each_row(table: list[dict[str, str | None]]) -> None:
    data = b"".join(json.dumps(row).encode() + b"\n\n" for row in table)
    reader = open_rows(Layout("ndjson"), io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]
    places, found = [Place()], []
    for row in reader:
        found.append(row)
        places.append(Place(reader.position, reader.line))
    assert [fields for _, fields in found] == table
    for n, place in enumerate(places):
        assert rows_of("ndjson", data, place) == found[n:]


def test_a_broken_row_does_not_take_the_next_one_along() -> None:
    found = rows_of("csv", b'a,b\n1,"x"y\n2,3\n4\n5,6\n')
    assert [line for line, _ in found] == [2, 3, 4, 5]
    assert [type(row) for _, row in found] == [Broken, list, Broken, list]
    assert isinstance(found[0][1], Broken)
    assert found[0][1].text == '1,"x"y'


def test_bytes_that_are_no_utf8_stay_where_they_are() -> None:
    [(_, row)] = rows_of("csv", b"a,b\ncaf\xe9,1\n")
    assert row == ["caf\udce9", "1"]


# Workbooks as others write them

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def workbook(sheet: str, *, texts: str | None = None, styles: str | None = None, properties: str = "") -> bytes:
    """A workbook of one sheet, part by part; Excel's absolute targets, LibreOffice's order of parts."""
    book = (
        f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">{properties}<sheets>'
        '<sheet name="S" sheetId="1" r:id="rId3"/></sheets></workbook>'
    )
    parts = [("worksheet", "rId3", "/xl/worksheets/sheet7.xml", sheet)]
    if texts is not None:
        parts.append(("sharedStrings", "rId4", "sharedStrings.xml", texts))
    if styles is not None:
        parts.append(("styles", "rId5", "styles.xml", styles))
    relations = "".join(
        f'<Relationship Id="{name}" Type="{RELATIONS}/{kind}" Target="{target}"/>' for kind, name, target, _ in parts
    )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r" Type="{RELATIONS}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        for _, _, target, content in parts:
            archive.writestr(target.lstrip("/") if target.startswith("/") else f"xl/{target}", content)
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}">{relations}</Relationships>')
        archive.writestr("xl/workbook.xml", book)
    return data.getvalue()


def sheet(*rows: str) -> str:
    """A sheet's XML."""
    return f'<?xml version="1.0"?><worksheet xmlns="{MAIN}"><sheetData>{"".join(rows)}</sheetData></worksheet>'


HEADER = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c>'
    '<c r="B1" t="str"><v>b</v></c><c r="C1" t="s"><v>0</v></c></row>'
)
TEXTS = (
    f'<sst xmlns="{MAIN}"><si><t>c</t></si>'
    '<si><r><t>rich </t></r><r><rPr/><t xml:space="preserve">text_x000D_</t></r></si>'
    "<si><t>日本</t><rPh sb='0' eb='2'><t>にほん</t></rPh></si></sst>"
)
STYLES = f"""<styleSheet xmlns="{MAIN}"><numFmts><numFmt numFmtId="170" formatCode="[$-409]d\\-mmm\\-yy;@"/>
<numFmt numFmtId="171" formatCode="0.00&quot; days&quot;"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
<cellXfs><xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs></styleSheet>"""


def cells_of(data: bytes) -> list[Any]:
    """The cells of every row."""
    return [row for _, row in rows_of("xlsx", data)]


def test_shared_texts_rich_ones_and_phonetic_hints_are_read() -> None:
    data = workbook(
        sheet(HEADER, '<row r="2"><c r="A2" t="s"><v>1</v></c><c r="C2" t="s"><v>2</v></c></row>'), texts=TEXTS
    )
    assert cells_of(data) == [["rich text\r", None, "日本"]]


def test_numbers_are_dates_by_their_format_alone() -> None:
    row = "".join(f'<c r="{c}2" s="{s}"><v>45351.5</v></c>' for c, s in (("A", 1), ("B", 2), ("C", 3)))
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    data = sheet(HEADER, f'<row r="2">{row}</row>')
    assert cells_of(workbook(data, texts=TEXTS, styles=STYLES)) == [[moment, moment, 45351.5]]
    later = workbook(data, texts=TEXTS, styles=STYLES, properties='<workbookPr date1904="1"/>')
    assert cells_of(later)[0][0] == datetime(2028, 3, 1, 12, tzinfo=UTC)


def test_booleans_iso_dates_whole_numbers_and_errors_are_told_apart() -> None:
    rows = (
        '<row r="2"><c r="A2" t="b"><v>1</v></c><c r="B2" t="d"><v>2024-02-29T12:00:00</v></c>'
        '<c r="C2"><v>7</v></c></row>',
        '<row r="4"><c r="A4"><v>1.5</v></c><c r="B4" t="e"><v>#REF!</v></c></row>',
    )
    found = rows_of("xlsx", workbook(sheet(HEADER, *rows), texts=TEXTS))
    assert found[0] == (2, [True, datetime(2024, 2, 29, 12, tzinfo=UTC), 7])
    line, cells = found[1]
    assert line == 4
    assert isinstance(cells, list)
    assert (cells[0], cells[2]) == (1.5, None)
    assert isinstance(cells[1], Broken)
    assert (cells[1].code, cells[1].text) == ("cell_error", "#REF!")


def test_rows_without_places_and_empty_rows_are_counted() -> None:
    rows = "<row/>", "<row><c><v>1</v></c><c/><c><v>3</v></c></row>"
    assert rows_of("xlsx", workbook(sheet(HEADER, *rows), texts=TEXTS)) == [(3, [1, None, 3])]


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><worksheet/>',
        sheet(HEADER, '<row r="2"><c r="A2" t="s"><v>99</v></c></row>'),
        sheet(HEADER, '<row r="2"><c r="AAAA2"><v>1</v></c></row>'),
        sheet(HEADER)[:-30],
    ],
    ids=["entities", "no such text", "no such column", "cut off"],
)
def test_a_workbook_that_is_none_is_refused(xml: str) -> None:
    with pytest.raises(RunError) as refused:
        rows_of("xlsx", workbook(xml, texts=TEXTS))
    assert refused.value.code == "broken_file"
