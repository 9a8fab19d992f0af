"""Where a key stands in a TOML file; Python's own reader does not tell."""

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any


def line_of(text: str, path: Sequence[str]) -> int:
    """The line, from 1, on which the key of a path begins, or the innermost table around it that the file has."""
    best, depth = 1, 0
    for line, header, held in _statements(text):
        found = _depth(header, held, path)
        if found > depth:
            best, depth = line, found
    return best


def _statements(text: str) -> Iterator[tuple[int, tuple[str, ...], dict[str, Any]]]:
    """Each table's head and each key with its value: its first line, the table it is in, and the keys it sets.

    A statement is the fewest lines that can be read by themselves.
    """
    header: tuple[str, ...] = ()
    begun, first = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not begun:
            first = number
        begun += line
        try:
            held = tomllib.loads(begun)
        except tomllib.TOMLDecodeError:
            continue
        if begun.lstrip().startswith("["):
            header = tuple(_keys(held))
            yield first, header, {}
        elif held:
            yield first, header, held
        begun = ""


def _keys(held: Any) -> Iterator[str]:
    while isinstance(held, dict) and held:
        [(key, held)] = held.items()
        yield key
        held = held[-1] if isinstance(held, list) else held


def _depth(header: tuple[str, ...], held: dict[str, Any], path: Sequence[str]) -> int:
    """How many keys of the path a statement holds, from the first on; 0 where its table is another one."""
    shared = min(len(header), len(path))
    if tuple(path[:shared]) != header[:shared]:
        return 0
    depth: int = shared
    found: Any = held
    for key in path[depth:] if shared == len(header) else ():
        if not isinstance(found, dict) or key not in found:
            break
        depth, found = depth + 1, found[key]
    return depth
