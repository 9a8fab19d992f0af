"""Where the repository keeps what the structure tests read."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
EVENTS = ROOT / "events"
PACKAGE = ROOT / "layers/stowage/stowage"
ENTITIES = ROOT / "layers/entities/stowage_entities"
WORKER = ROOT / "worker"


def handler_files() -> list[Path]:
    """One file per function, package markers left out."""
    return sorted(path for path in FUNCTIONS.rglob("*.py") if path.name != "__init__.py")


def product_files() -> list[Path]:
    """Every Python file that is deployed."""
    return [
        *sorted(PACKAGE.rglob("*.py")),
        *sorted(ENTITIES.rglob("*.py")),
        *handler_files(),
        *sorted(WORKER.rglob("*.py")),
    ]


@cache
def modules() -> dict[str, Path]:
    """The product's modules by import name."""
    found = {}
    for root, paths in (
        (PACKAGE.parent, PACKAGE.rglob("*.py")),
        (ENTITIES.parent, ENTITIES.rglob("*.py")),
        (FUNCTIONS, handler_files()),
        (ROOT, WORKER.rglob("*.py")),
    ):
        for path in paths:
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def module_of(handler: str) -> str:
    """The module of a template's `Handler`: `exports.create_export.app` is in `exports.create_export`."""
    return handler.rpartition(".")[0]


def title_case(stem: str) -> str:
    """`create_export` as the template writes it: `CreateExport`."""
    return "".join(word.capitalize() for word in stem.split("_"))


def relative(path: Path) -> str:
    """A path as a reader of the repository writes it."""
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree; several tests look at each of them."""
    return ast.parse(path.read_text())
