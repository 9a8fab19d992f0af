"""The declarations of tables: compiled where a deployment's build would, at the start and when a file has changed."""

from pathlib import Path

from local.configuration import layers
from local.console import StartError, log
from stowage.entities.building import build
from stowage.entities.language import DeclarationError


def compile_declarations(root: Path) -> None:
    """Compile those of a checkout; StartError with every mistake, by file and line."""
    _, folder = layers(root)
    try:
        build(folder, folder / "stowage_entities")
    except (DeclarationError, OSError) as error:
        raise StartError(f"The declarations in {folder} cannot be compiled:\n{error}") from error


def compile_again(root: Path) -> None:
    """The same of a stack that runs: with a mistake it keeps the declarations that it has, and says so."""
    try:
        compile_declarations(root)
    except StartError as error:
        log(str(error))
