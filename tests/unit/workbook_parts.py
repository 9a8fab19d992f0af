"""Workbooks put together part by part, as other programs write them and as nobody should."""

import io
import zipfile
from collections.abc import Mapping

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
STRICT_MAIN = "http://purl.oclc.org/ooxml/spreadsheetml/main"
STRICT_RELATIONS = "http://purl.oclc.org/ooxml/officeDocument/relationships"

type Part = str | bytes


def zipped(parts: Mapping[str, Part], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Parts as a zip."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def relations(*targets: tuple[str, str, str], kinds: str = RELATIONS) -> str:
    """A part of relations: id, the last word of the type, target."""
    entries = "".join(
        f'<Relationship Id="{name}" Type="{kinds}/{kind}" Target="{target}"/>' for name, kind, target in targets
    )
    return f'<Relationships xmlns="{PACKAGE}">{entries}</Relationships>'


def sheet(*rows: str) -> str:
    """A sheet's XML."""
    return f'<?xml version="1.0"?><worksheet xmlns="{MAIN}"><sheetData>{"".join(rows)}</sheetData></worksheet>'


def text_row(*texts: str) -> str:
    """A row of inline texts, without places."""
    return f"<row>{''.join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in texts)}</row>"


def book(*sheets: tuple[str, str], properties: str = "") -> str:
    """The part `workbook`: sheets by name and state, related to as r1, r2 …"""
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"{f' state="{state}"' if state else ""}/>'
        for n, (name, state) in enumerate(sheets, 1)
    )
    return f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">{properties}<sheets>{listed}</sheets></workbook>'


def parts(
    *sheets: str,
    texts: Part | None = None,
    styles: Part | None = None,
    properties: str = "",
    states: tuple[str, ...] = (),
) -> dict[str, Part]:
    """The parts of a workbook, for a test to change."""
    states = states or ("",) * len(sheets)
    targets = [(f"r{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)]
    found: dict[str, Part] = {f"xl/{target}": xml for (_, _, target), xml in zip(targets, sheets, strict=True)}
    for kind, content in (("sharedStrings", texts), ("styles", styles)):
        if content is not None:
            targets.append((kind, kind, f"{kind}.xml"))
            found[f"xl/{kind}.xml"] = content
    names = [(f"Sheet {n}", state) for n, state in enumerate(states, 1)]
    return {
        "_rels/.rels": relations(("r", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": book(*names, properties=properties),
        "xl/_rels/workbook.xml.rels": relations(*targets),
        **found,
    }


def workbook(*sheets: str, **given: str | None) -> bytes:
    """A workbook of these sheets."""
    return zipped(parts(*sheets, **given))  # type: ignore[arg-type]
