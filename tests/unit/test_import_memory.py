"""Memory that a workbook takes, whatever its zip holds: at most 150 MB for the whole process."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.structure.repository import ROOT
from tests.unit.workbook_parts import MAIN, PACKAGE, RELATIONS, Part, parts, sheet, text_row, zipped

MOST_MB = 150
LARGE = 4_000_000
"""Bytes of a part, of which zip makes some kilobytes."""

READ = """
import os, sys
from stowage.basics.errors import RunError
from stowage.entities.declared import ENTITIES
from stowage.imports.files.columns import Naming
from stowage.imports.files.preparing import Preparer
from stowage.imports.files.opening import open_rows
from stowage.imports.files.reading import Layout
from stowage.imports.files.running import _Batches

users = ENTITIES["users"]
naming = Naming(users, {}, ignores_unknown=True)

def read(name):
    total = 0
    try:
        with open(name, "rb") as file:
            rows = open_rows(Layout("xlsx"), file)
            preparer = Preparer(users, "import", "xlsx", naming.match(rows.header), naming)
            batches = _Batches(rows, 0)
            batch = batches.take()
            while True:
                prepared = preparer.prepare(batch)
                total += len(batch.rows)
                if batch.broken:
                    raise batch.broken
                if batch.is_last:
                    break
                batch = batches.take()
        told = f"read {total}"
    except RunError as refused:
        told = f"{refused.code} {refused.message}"
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")), told, flush=True)

for line in sys.stdin:
    if not os.fork():
        read(line.rstrip())
        os._exit(0)
    if os.wait()[1]:
        print("died", flush=True)
"""
"""Reads each file that it is told of in a process of its own, a fork: its imports are made once."""

HEADER = text_row("name", "email")
WIDE = f"<row>{''.join(f'<c t="str"><v>c{n}</v></c>' for n in range(16_382))}</row>"


def filled(begin: str, piece: str, end: str) -> str:
    """A part of about `LARGE` bytes."""
    return begin + piece * (LARGE // len(piece)) + end


def sparse_rows() -> str:
    return sheet(HEADER, *(f'<row><c r="XFD{n}"><v>1</v></c></row>' for n in range(2, LARGE // 40)))


def wide_sparse_rows() -> str:
    names = WIDE.replace("<row>", f"<row>{HEADER[5:-6]}")
    return sheet(names, *(f'<row><c t="str"><v>x</v></c><c r="XFD{n}"><v>1</v></c></row>' for n in range(2, 20_000)))


def shared(texts: str, cell: str = '<c t="s"><v>0</v></c>', cells: int = 2, rows: int = 60) -> dict[str, Part]:
    """A workbook whose cells all share one text."""
    row = f"<row>{cell * cells}</row>"
    return parts(sheet(HEADER, *[row] * rows), texts=f'<sst xmlns="{MAIN}">{texts}</sst>')


def with_part(name: str, content: str) -> dict[str, Part]:
    """The plainest workbook with one part of another content."""
    return parts(sheet(HEADER, text_row("a", "b"))) | {name: content}


def names(piece: str) -> str:
    """Elements that are all named differently."""
    return "".join(piece.format(n=n) for n in range(LARGE // 12))


SHEET = "xl/worksheets/sheet1.xml"
TEXT_CELL = '<c t="str"><v>a</v></c>'
BEGIN, END = sheet(HEADER).split("</sheetData>")
END = f"</sheetData>{END}"
BOOK = f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets><sheet name="S" sheetId="1" r:id="r1"/>'

BOMBS = {
    "sparse rows": lambda: with_part(SHEET, sparse_rows()),
    "sparse rows of a wide sheet": lambda: with_part(SHEET, wide_sparse_rows()),
    "one cell": lambda: with_part(SHEET, filled(f'{BEGIN}<row><c t="str"><v>', "x", f"</v></c></row>{END}")),
    "cells of a row": lambda: with_part(
        SHEET, f"{BEGIN}<row>{f'<c t="str"><v>{"x" * 900_000}</v></c>' * 8}</row>{END}"
    ),
    "wide characters": lambda: with_part(
        SHEET, BEGIN + f'<row><c t="str"><v>{"😀" * 900_000}</v></c><c t="str"><v>x</v></c></row>' * 3 + END
    ),
    "empty rows": lambda: with_part(SHEET, filled(BEGIN, "<row/>", END)),
    "empty cells": lambda: with_part(SHEET, filled(BEGIN, "<row><c/></row>", END)),
    "nesting": lambda: with_part(SHEET, filled(BEGIN, "<a>", "")),
    "nesting of relations": lambda: with_part("xl/_rels/workbook.xml.rels", filled("<Relationships>", "<a>", "")),
    "an attribute": lambda: with_part(SHEET, filled(f'{BEGIN}<row x="', "x", f'"/>{END}')),
    "a comment": lambda: with_part(SHEET, filled(f"{BEGIN}<!--", "x", f"-->{END}")),
    "a namespace": lambda: with_part(SHEET, f'<worksheet xmlns="{"u" * 1_000_000}">{"<c/>" * 10_000}</worksheet>'),
    "names of elements": lambda: with_part(SHEET, BEGIN + names("<a{n:07}/>") + END),
    "names of attributes": lambda: with_part(SHEET, BEGIN + names('<a b{n:07}=""/>') + END),
    "prefixes": lambda: with_part(SHEET, BEGIN + names('<a xmlns:b{n:07}="u"/>') + END),
    "one shared text": lambda: shared(filled("<si><t>", "x", "</t></si>")),
    "a shared text in every cell": lambda: shared(f"<si><t>{'x' * 900_000}</t></si>"),
    "a shared text in a wide row": lambda: shared(f"<si><t>{'x' * 900_000}</t></si>", cells=16_000, rows=20),
    "empty shared texts": lambda: shared("<si/>" * (LARGE // 5)),
    "short shared texts": lambda: shared("<si><t>abcdefgh</t></si>" * (LARGE // 24)),
    "formats": lambda: (
        with_part("xl/styles.xml", filled("<styleSheet><cellXfs>", "<xf/>", "</cellXfs></styleSheet>"))
        | {
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}">'
            f'<Relationship Id="r1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
            f'<Relationship Id="r2" Type="{RELATIONS}/styles" Target="styles.xml"/></Relationships>'
        }
    ),
    "entities": lambda: with_part(
        SHEET, filled(f'{BEGIN}<row><c t="str"><v>', "&lt;&amp;&#65;", f"</v></c></row>{END}")
    ),
    "rich text": lambda: shared(filled("<si>", "<r><t>xx</t></r>", "</si>")),
    "cells that fail": lambda: with_part(
        SHEET, filled(BEGIN, '<row><c t="e"><v>#N/A</v></c><c><f>1</f></c></row>', END)
    ),
    "an instruction": lambda: with_part(SHEET, filled(f"{BEGIN}<?x ", "x", f"?>{END}")),
    "number formats": lambda: parts(
        sheet(HEADER, text_row("a", "b")),
        styles=filled("<styleSheet><numFmts>", '<numFmt numFmtId="200" formatCode="0.00"/>', "</numFmts></styleSheet>"),
    ),
    "number formats that differ": lambda: parts(
        sheet(HEADER, text_row("a", "b")),
        styles="<styleSheet><numFmts>"
        + "".join(f'<numFmt numFmtId="{n}" formatCode="{n:0>250}"/>' for n in range(LARGE // 40))
        + "</numFmts></styleSheet>",
    ),
    "names of ranges": lambda: with_part(
        "xl/workbook.xml",
        filled(
            f"{BOOK}</sheets><definedNames>", '<definedName name="a">A1</definedName>', "</definedNames></workbook>"
        ),
    ),
    "sheets": lambda: with_part(
        "xl/workbook.xml", filled(BOOK, '<sheet name="S" sheetId="1" r:id="r1"/>', "</sheets></workbook>")
    ),
    "relations": lambda: with_part(
        "xl/_rels/workbook.xml.rels",
        f'<Relationships xmlns="{PACKAGE}">'
        + "".join(
            f'<Relationship Id="r{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(LARGE // 150)
        )
        + "</Relationships>",
    ),
    "parts": lambda: parts(sheet(HEADER)) | {f"xl/media/image{n:06}.png": b"" for n in range(60_000)},
}


@pytest.fixture(scope="module")
def reader() -> Iterator[subprocess.Popen[str]]:
    paths = [str(ROOT / "layers" / name) for name in ("stowage", "entities")]
    command = [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = {paths!r}\n{READ}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}) as process:
        yield process


@pytest.mark.long(
    but=[
        "sparse rows",
        "one cell",
        "empty cells",
        "nesting",
        "an attribute",
        "names of elements",
        "a shared text in every cell",
        "short shared texts",
        "formats",
        "entities",
        "relations",
        "parts",
    ]
)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_workbook_takes_no_more_memory_than_a_real_one(
    reader: subprocess.Popen[str], bomb: str, tmp_path: Path
) -> None:
    file = tmp_path / "bomb.xlsx"
    file.write_bytes(zipped(BOMBS[bomb](), zipfile.ZIP_DEFLATED))
    told = told_within_bounds(reader, file)
    assert told.startswith(("read", "broken_file", "wrong_header"))


def test_a_workbook_that_unpacks_to_400_megabytes_takes_no_more_either(
    reader: subprocess.Popen[str], tmp_path: Path
) -> None:
    """A formula as long as that is passed over, to its end."""
    file = tmp_path / "bomb.xlsx"
    begin, end = f"{BEGIN}<row>{TEXT_CELL}<c><f>", f"</f><v>1</v></c></row>{END}"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts(sheet(HEADER)).items():
            if name != SHEET:
                archive.writestr(name, content)
        with archive.open(SHEET, "w") as part:
            part.write(begin.encode())
            for _ in range(400):
                part.write(b"x" * 1_000_000)
            part.write(end.encode())
    assert file.stat().st_size < 4_000_000
    assert told_within_bounds(reader, file) == "read 1"


def told_within_bounds(reader: subprocess.Popen[str], file: Path) -> str:
    """What the import of a file in a process of its own ends with."""
    assert reader.stdin
    assert reader.stdout
    reader.stdin.write(f"{file}\n")
    reader.stdin.flush()
    megabytes, _, told = reader.stdout.readline().strip().partition(" ")
    assert megabytes.isdecimal(), told
    assert int(megabytes) <= MOST_MB, told
    return told
