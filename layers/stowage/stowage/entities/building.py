"""The build: declarations in, a module of literals out."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from stowage.entities.hooks import FILE, mistake_of
from stowage.entities.language import DeclarationError, Literals, Mistake, read_declarations

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
    literals = read_declarations(files)
    if mistakes := [Mistake(FILE, line, sentence) for line, sentence in _mistakes_of_hooks(literals, folder / FILE)]:
        raise DeclarationError(mistakes)
    return literals


def _mistakes_of_hooks(literals: Literals, path: Path) -> list[tuple[int, str]]:
    """What is wrong with the hooks that are declared; the file runs, as it will at the first write."""
    wanted = {
        f"{name}.fields.{field}.hook": given["hook"]
        for name, literal in literals.items()
        for field, given in literal["fields"].items()
        if "hook" in given
    }
    if not path.exists():
        return [(1, f"there is no such file, and {place} names a hook of it") for place in wanted]
    spec = spec_from_file_location("hooks", path)
    assert spec is not None, "a file that ends in .py"
    assert spec.loader is not None, "such a file has one"
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        return [(error.lineno or 1, f"{error.msg}")]
    except Exception as error:
        return [(_line_in(path, error), f"it cannot be loaded: {type(error).__name__}: {error}")]
    return [(1, f"{place}: {mistake}") for place, hook in wanted.items() if (mistake := mistake_of(module, hook))]


def _line_in(path: Path, error: Exception) -> int:
    """The last line of that file on the way to an error."""
    line, step = 1, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            line = step.tb_lineno
        step = step.tb_next
    return line


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
    """Write the package from the folder's declarations and hooks, unless it says the same; whether it was written."""
    hooks = folder / FILE
    wanted = {MODULE: module_of(read_folder(folder))}
    if hooks.exists():
        wanted[FILE] = hooks.read_text(encoding="utf-8")
    else:
        (package / FILE).unlink(missing_ok=True)
    written = [_write(package / name, text) for name, text in wanted.items()]
    return any(written)


def _write(module: Path, text: str) -> bool:
    if module.exists() and module.read_text(encoding="utf-8") == text:
        return False
    module.parent.mkdir(parents=True, exist_ok=True)
    half = module.with_suffix(".new")
    half.write_text(text, encoding="utf-8")
    half.chmod(0o644)
    half.replace(module)
    return True
