"""What the documents name exists: files, commands, parameters, functions, variables."""

import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from stowage.settings import Settings
from tests.structure.deployed_template import functions, source
from tests.structure.repository import PACKAGE, ROOT, modules, relative

DOCUMENTS = sorted(chain(ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")))
MADE_BY_COMMANDS = (
    "manifest.json",
    ".stowage", ".venv", ".tools", ".aws-sam", "benchmarks/results",
    "layers/stowage/stowage/postgres/session/server-ca.pem",
)  # fmt: skip
"""What is not in a fresh checkout."""

TOP = {path.name for path in ROOT.iterdir()} - {".git"}
FILE_TYPES = r"\.(md|py|toml|ya?ml|json|sql|sh|in|txt|lock)$"

pytestmark = pytest.mark.parametrize("document", DOCUMENTS, ids=relative)


@cache
def text_of(document: Path) -> str:
    """A document's text."""
    return document.read_text()


def code_words(document: Path) -> list[str]:
    """The words in backticks and in code blocks."""
    text = text_of(document)
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [word.strip(".,;:()'\"") for chunk in [*re.findall(r"`([^`]+)`", rest), *blocks] for word in chunk.split()]


def anchors(document: Path) -> set[str]:
    """The headings of a document as links to them are written."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (document.parent / file) if file else document
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def test_every_path_that_is_named_exists(document: Path) -> None:
    missing = []
    for word in code_words(document):
        path = word.removeprefix("./").rstrip("/")
        if re.search(r"[{}<>$=…|:]", path) or path.startswith(MADE_BY_COMMANDS):
            continue
        named = ("/" in path and path.split("/")[0] in TOP) or ("/" not in path and re.search(FILE_TYPES, path))
        if "/" not in path and document.name == "decisions.md":
            continue  # It also names the files of what was decided against.
        if not named or any(ROOT.glob(path)) or any(document.parent.glob(path)):
            continue
        if "/" not in path and any(ROOT.glob(f"[!.]*/**/{path}")):
            continue
        missing.append(word)
    assert not missing


def test_nothing_is_still_to_be_filled_in(document: Path) -> None:
    """A placeholder is in capitals: on a line of its own, or in prose."""
    prose = re.sub(r"^ *```.*?^ *```|`[^`]+`", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
    alone = re.findall(r"^[A-Z]+_[A-Z_]+$", text_of(document), re.MULTILINE)
    assert not alone + re.findall(r"\b[A-Z]{2,}_[A-Z_]+\b", prose)


def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = re.findall(r"(?:`|^\$? *)make ([a-z][\w-]*)", text_of(document), re.MULTILINE)
    assert set(commands) <= targets


def test_every_parameter_of_the_template_that_is_named_exists(document: Path) -> None:
    text = text_of(document)
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`(?= parameter| \(parameter|s? parameter)", text))
    named |= set(re.findall(r"parameters? `([A-Z][A-Za-z]+)", text))
    named |= {word.partition("=")[0] for word in code_words(document) if re.match(r"[A-Z][a-z]+[A-Za-z]*=", word)}
    assert named <= set(source()["Parameters"])


def test_every_function_and_resource_that_is_named_exists(document: Path) -> None:
    named = {word for word in code_words(document) if re.fullmatch(r"([A-Z][a-z]+)+Function", word)}
    assert named <= set(functions())


def test_every_variable_of_ours_that_is_named_is_read_somewhere(document: Path) -> None:
    files = chain((ROOT / "local").rglob("*.py"), (ROOT / "benchmarks").rglob("*.py"), (ROOT / "tests").rglob("*.py"))
    files = chain(files, (ROOT / "worker").rglob("*.py"), [ROOT / "Makefile"])
    read = set(re.findall(r"STOWAGE_[A-Z_]+", "\n".join(path.read_text() for path in files)))
    read |= {f"STOWAGE_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"STOWAGE_[A-Z]+(?:_[A-Z]+)*", text_of(document))) <= read


def test_every_module_that_is_named_exists(document: Path) -> None:
    tables = set(re.findall(r"stowage\.\w+", "\n".join(path.read_text() for path in PACKAGE.rglob("*.sql"))))
    missing = []
    for word in code_words(document):
        if word not in tables and re.fullmatch(r"stowage(\.\w+)+", word):
            owner = word
            while owner not in modules():
                owner = owner.rpartition(".")[0]
            first = word.removeprefix(owner).strip(".").partition(".")[0]
            if first and not re.search(rf"\b{first}\b", modules()[owner].read_text()):
                missing.append(word)
    assert not missing
