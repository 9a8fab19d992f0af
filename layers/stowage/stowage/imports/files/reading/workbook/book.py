"""What the cells of a workbook refer to: its sheets, its formats, its shared texts, its first day."""

from dataclasses import dataclass
from posixpath import join

from stowage.imports.files.reading.rows import broken_file
from stowage.imports.files.reading.workbook.cells import Style
from stowage.imports.files.reading.workbook.formats import kind_of, zeros_of
from stowage.imports.files.reading.workbook.parts import Parts, path
from stowage.imports.files.reading.workbook.texts import SharedTexts

MOST_ENTRIES = 100_000
"""Relations, sheets, formats and styles; Excel has at most 65,490 styles."""
LONGEST_VALUE = 4_000
"""Characters of a name or target; longer ones are cut or passed over."""
LONGEST_FORMAT = 255
"""Characters of a number format, as in Excel; longer ones are passed over."""

_TRUE = ("1", "true", "on")


@dataclass(frozen=True)
class Sheet:
    """A sheet that people see: its name and its part."""

    name: str
    part: str


class Book:
    """A workbook. `sheets` are the visible ones in order; RunError where there is none."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.sheets: list[Sheet] = []
        self.since_1904 = False
        self._default = Style()
        self._styles: list[Style] = []
        book = self._book_part()
        folder, _, name = book.rpartition("/")
        relations = self._relations(join(folder, "_rels", f"{name}.rels"), folder)
        self._read_book(book, {key: target for key, (kind, target) in relations.items() if kind == "worksheet"})
        if not self.sheets:
            raise broken_file("The workbook has no visible sheet.")
        found = {kind: target for kind, target in relations.values() if target in parts}
        if "styles" in found:
            self._read_styles(found["styles"])
        self.texts = SharedTexts(parts, found.get("sharedStrings"))

    def style(self, number: int) -> Style:
        """The style of that number, from 0."""
        return self._styles[number] if number < len(self._styles) else self._default

    def _book_part(self) -> str:
        relations = self._relations("_rels/.rels", "").values()
        part = next((target for kind, target in relations if kind == "officeDocument"), "xl/workbook.xml")
        if part.lower().endswith(".bin"):
            raise broken_file("The workbook is a binary one (.xlsb); save it as .xlsx.")
        if part not in self._parts:
            if "content.xml" in self._parts:
                raise broken_file("The file is an OpenDocument file; save it as .xlsx.")
            raise broken_file("The file is no Excel workbook, or not a whole one.")
        return part

    def _relations(self, part: str, folder: str) -> dict[str, tuple[str, str]]:
        """What a part relates to: the last word of each relation's type, and the part that it names."""
        found: dict[str, tuple[str, str]] = {}

        def take(name: str, given: dict[str, str]) -> None:
            kind, target = given.get("Type", ""), given.get("Target", "")
            if name != "Relationship" or given.get("TargetMode") == "External" or len(target) > LONGEST_VALUE:
                return
            _check_number(len(found))
            found[given.get("Id", "")[:LONGEST_VALUE]] = (kind.rpartition("/")[2][:LONGEST_VALUE], path(folder, target))

        if part in self._parts:
            self._parts.elements(part, take)
        return found

    def _read_book(self, part: str, worksheets: dict[str, str]) -> None:
        seen: set[str] = set()

        def take(name: str, given: dict[str, str]) -> None:
            if name == "workbookPr":
                self.since_1904 = given.get("date1904") in _TRUE
            elif name == "sheet" and given.get("state", "visible") == "visible":
                relation = next((value for key, value in given.items() if key.endswith(" id")), "")
                target = worksheets.get(relation, "")
                if target and target not in seen:
                    _check_number(len(seen))
                    seen.add(target)
                    self.sheets.append(Sheet(given.get("name", "")[:LONGEST_VALUE], target))

        self._parts.elements(part, take)

    def _read_styles(self, part: str) -> None:
        codes: dict[int, str] = {}
        known: dict[tuple[int, str | None], Style] = {}
        inside = False

        def take(name: str, given: dict[str, str]) -> None:
            nonlocal inside
            if name == "numFmt" and not inside and len(given.get("formatCode", "")) <= LONGEST_FORMAT:
                _check_number(len(codes))
                codes[int(given.get("numFmtId", 0))] = given.get("formatCode", "")
            elif name in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
                inside = name == "cellXfs"
            elif name == "xf" and inside:
                _check_number(len(self._styles))
                number = int(given.get("numFmtId", 0))
                key = (number, codes.get(number))
                if key not in known:
                    known[key] = Style(kind_of(*key), zeros_of(key[1]))
                self._styles.append(known[key])

        self._parts.elements(part, take)


def _check_number(entries: int) -> None:
    if entries >= MOST_ENTRIES:
        raise broken_file("The workbook has more sheets or formats than can be read.")
