"""Excel workbooks (ECMA-376) with typed cells, streamed: Postgres writes the cells, bulk replacements make them XML.

Texts are inline strings, moments are dates, the header is bold and frozen. What a workbook cannot hold is told here:
control characters are left out (XML 1.0 §2.2), a text longer than 32,767 characters is cut and ends in `…`, whole
numbers of more than 15 digits, NaN, infinities and moments outside 1900 to 9999 are texts.
"""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape

from stowage.pipeline.zip import ZipStream
from stowage.postgres.reads.copy import Rows, Snapshot
from stowage.postgres.reads.rendering import BOOLEAN, CELL_END, MOMENT, NULL, NUMBER, VALUE_END, copy_cells
from stowage.postgres.reads.selection import Selection

SHEET_ROWS = 1_048_575
"""Data rows of a sheet: Excel has 1,048,576, one is the header."""
SHEET_BYTES = 2 << 30
"""A sheet ends after so much XML, because Excel refuses zip64 entries."""

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

_TEXT_BEGIN = b'<c t="inlineStr"><is><t xml:space="preserve">'
_TEXT_END = b"</t></is></c>"
_ROW_END = b"</row>\n<row>"

_STYLES = f"""{_XML}<styleSheet xmlns="{_MAIN}">
<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>
<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>\
<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>
<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>
<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>
<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>
<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>\
<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs>
<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>
</styleSheet>"""


def xlsx_file(
    snapshot: Snapshot, selection: Selection, *, sheet_rows: int = SHEET_ROWS, sheet_bytes: int = SHEET_BYTES
) -> Iterator[bytes]:
    """One workbook; rows past `sheet_rows`, or `sheet_bytes` of XML, go on in further sheets with the same header."""
    archive = ZipStream(snapshot.began_at())
    sheets = _Sheets(snapshot.copy(copy_cells(selection), selection.name), selection, sheet_rows, sheet_bytes)
    names: list[str] = []
    while sheets.more:
        names.append(selection.name if not names else f"{selection.name} ({len(names) + 1})")
        yield from archive.entry(f"xl/worksheets/sheet{len(names)}.xml", sheets.next_sheet(selected=len(names) == 1))
    for name, content in _frame(names):
        yield from archive.entry(name, [content.encode()])
    yield archive.end()


class _Sheets:
    """The rows of a selection cut into sheets."""

    def __init__(self, batches: Iterator[Rows], selection: Selection, most_rows: int, most_bytes: int) -> None:
        self.more = True
        self._batches, self._selection, self._most_rows, self._most_bytes = batches, selection, most_rows, most_bytes
        self._left: Rows = ()

    def next_sheet(self, *, selected: bool) -> Iterator[bytes]:
        """The XML of the next sheet; `more` tells afterwards whether rows are left for another."""
        yield _sheet_begin(self._selection, selected=selected)
        room, size = self._most_rows, 0
        while True:
            try:
                rows = self._left or next(self._batches)
            except StopIteration:
                self.more = False
                break
            self._left = ()
            if rows and (not room or size >= self._most_bytes):
                self._left = rows
                break
            taken, self._left = rows[:room], rows[room:]
            room -= len(taken)
            data = rows_xml(taken)
            size += len(data)
            yield data
        yield b"</sheetData></worksheet>"


def _sheet_begin(selection: Selection, *, selected: bool) -> bytes:
    columns = selection.columns
    widths = "".join(
        f'<col min="{number}" max="{number}" width="20" customWidth="1"/>'
        for number, column in enumerate(columns, 1)
        if column.type in ("timestamp", "local_timestamp", "date") and not column.is_array
    )
    header = "".join(f'<c s="2" t="inlineStr"><is><t>{escape(column.name)}</t></is></c>' for column in columns)
    pane = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    view = f'<sheetView {'tabSelected="1" ' if selected else ""}workbookViewId="0">{pane}</sheetView>'
    return (
        f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews>{view}</sheetViews>'
        f"{f'<cols>{widths}</cols>' if widths else ''}<sheetData>\n<row>{header}</row>\n"
    ).encode()


_ESCAPED = re.compile(rb"\\(?:u([0-9a-f]{4})|(.))")
_PLAIN = {b"n": b"&#10;", b"r": b"&#13;", b"t": b"\t", b'"': b"&quot;", b"\\": b"\\", b"/": b"/"}
# In a text, _x000D_ would be read as the character of that number (ECMA-376 Part 1, §22.9.2.19).
_LOOKS_ESCAPED = re.compile(rb"_(?=x[0-9A-Fa-f]{4}_)")


def rows_xml(rows: Rows) -> bytes:
    """`<row>` elements of rows from `copy_cells`. Each step is one pass over all of them, which costs about a tenth of
    a microsecond a row; that the steps do not meet each other's work is because JSON strings hold no control
    characters and no quote that is not escaped.
    """
    data = b"".join(rows)
    if not data:
        return b""
    data = data.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    if b"\\" in data:
        data = _ESCAPED.sub(_unescape, data)
    if b"_x" in data:
        data = _LOOKS_ESCAPED.sub(b"_x005F_", data)
    if b"\xef" in data:  # U+FFFE and U+FFFF are no characters of XML
        data = data.replace(b"\xef\xbf\xbe", b"").replace(b"\xef\xbf\xbf", b"")
    data = data.replace(b"\n", CELL_END + _ROW_END)
    data = data.replace(b'"' + CELL_END, _TEXT_END).replace(b'"', _TEXT_BEGIN)
    for mark, xml in _MARKS:
        data = data.replace(mark, xml)
    return b"<row>" + data[: -len(b"<row>")]


_MARKS = (
    (NUMBER, b"<c><v>"),
    (MOMENT, b'<c s="1"><v>'),
    (BOOLEAN, b'<c t="b"><v>'),
    (VALUE_END, b"</v></c>"),
    (NULL, b"<c/>"),
    (CELL_END, b""),
)


def _unescape(found: re.Match[bytes]) -> bytes:
    """What a JSON escape stands for, as XML; coded ones but the ellipsis of a text that was cut off are control
    characters, which XML does not have.
    """
    if found[1] == b"2026":
        return "…".encode()
    return _PLAIN.get(found[2], b"") if found[2] else b""


def _frame(names: list[str]) -> Iterator[tuple[str, str]]:
    """The other parts of the package: workbook, styles, and what relates them."""
    numbered = list(enumerate(names, 1))
    sheets = "".join(f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>' for n, name in numbered)
    yield (
        "xl/workbook.xml",
        f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><bookViews><workbookView/></bookViews>'
        f"<sheets>{sheets}</sheets></workbook>",
    )
    yield "xl/styles.xml", _STYLES
    targets = [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n, _ in numbered]
    yield "xl/_rels/workbook.xml.rels", _relations([*targets, ("rIdStyles", "styles", "styles.xml")])
    yield "_rels/.rels", _relations([("rId1", "officeDocument", "xl/workbook.xml")])
    parts = [("workbook.xml", "sheet.main"), ("styles.xml", "styles")]
    parts += [(f"worksheets/sheet{n}.xml", "worksheet") for n, _ in numbered]
    overrides = "".join(f'<Override PartName="/xl/{part}" ContentType="{_TYPE}.{kind}+xml"/>' for part, kind in parts)
    yield (
        "[Content_Types].xml",
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
    )


def _relations(targets: list[tuple[str, str, str]]) -> str:
    entries = "".join(
        f'<Relationship Id="{name}" Type="{_RELATIONS}/{kind}" Target="{target}"/>' for name, kind, target in targets
    )
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{entries}</Relationships>'
