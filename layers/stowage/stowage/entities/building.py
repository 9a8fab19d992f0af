"""The build: declarations in, a module of literals out."""

from pathlib import Path

from stowage.entities.language import Literals, read_declarations

MODULE = "__init__.py"
_HEAD = '''"""The tables of your tenants as literals; `make entities` writes them from the files in layers/entities."""

from typing import Any

# fmt: off
# ruff: noqa: E501
DECLARED: dict[str, dict[str, Any]] = {
'''


def read_folder(folder: Path) -> Literals:
    """The declarations of the folder's TOML files. DeclarationError with every mistake; FileNotFoundError for none."""
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}
    if not files:
        raise FileNotFoundError(f"There is no declaration (*.toml) in {folder}.")
    return read_declarations(files)


def module_of(literals: Literals) -> str:
    """The module's text: a line for each key of an entity, so that a change shows as one."""
    lines = [_HEAD]
    for name, literal in literals.items():
        lines.append(f"    {name!r}: {{\n")
        for key, value in literal.items():
            if key == "fields":
                lines.append("        'fields': {\n")
                lines += [f"            {field!r}: {given!r},\n" for field, given in value.items()]
                lines.append("        },\n")
            else:
                lines.append(f"        {key!r}: {value!r},\n")
        lines.append("    },\n")
    return "".join((*lines, "}\n"))


def build(folder: Path, package: Path) -> bool:
    """Write the package's module from the folder's declarations, unless it says the same; whether it was written."""
    text = module_of(read_folder(folder))
    module = package / MODULE
    if module.exists() and module.read_text(encoding="utf-8") == text:
        return False
    package.mkdir(parents=True, exist_ok=True)
    half = module.with_suffix(".new")
    half.write_text(text, encoding="utf-8")
    half.chmod(0o644)
    half.replace(module)
    return True
