"""The types of columns: how people write them, how Postgres does, and what the product makes of each."""

import re
from dataclasses import dataclass
from functools import cache

from stowage.entities.declaration import FieldType

_OTHER_NAMES = {
    "int": "integer", "int4": "integer", "serial": "integer", "int8": "bigint", "bigserial": "bigint",
    "int2": "smallint", "smallserial": "smallint", "float": "double precision", "float8": "double precision",
    "float4": "real", "decimal": "numeric", "bool": "boolean", "varchar": "character varying", "char": "character",
    "bpchar": "character", "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone",
    "timetz": "time with time zone", "time": "time without time zone", "varbit": "bit varying",
}  # fmt: skip
"""What people write, and what Postgres calls it: https://www.postgresql.org/docs/18/datatype.html."""

_KINDS: dict[str, FieldType] = {
    "text": "text", "character varying": "text", "character": "text", "smallint": "integer", "integer": "integer",
    "bigint": "integer", "real": "number", "double precision": "number", "numeric": "numeric", "boolean": "boolean",
    "timestamp with time zone": "timestamp", "timestamp without time zone": "local_timestamp", "date": "date",
    "time without time zone": "time", "interval": "interval", "uuid": "uuid", "json": "json", "jsonb": "json",
    "bytea": "bytes",
}  # fmt: skip

_SIZE = re.compile(r"\(\s*(-?\d+)\s*(?:,\s*(-?\d+)\s*)?\)")
_WORDS = (
    "(?:[a-z_][a-z0-9_$]*|double precision|(?:character|bit) varying|interval [a-z ]+"
    "|time(?:stamp)? with(?:out)? time zone)"
)
_QUOTED = r'"(?:[^"]|"")+"'
_NAME = re.compile(rf"(?:(?:[a-z_][a-z0-9_$]*|{_QUOTED})\.)?(?:{_WORDS}|{_QUOTED})")


@dataclass(frozen=True)
class ColumnType:
    """A column's type: `text` is how Postgres writes it, `kind` what the product makes of its values."""

    text: str
    base: str
    kind: FieldType
    is_array: bool
    sizes: tuple[int, ...]


@cache
def read_type(text: str) -> ColumnType | None:
    """Read a type in any of its spellings (`varchar(9)` is `character varying(9)`); None for what cannot be one."""
    base, arrays = re.subn(r"(\s*\[\s*\])+\s*$", "", text)
    quoted = '"' in base
    found = None if quoted else _SIZE.search(base)
    if found:
        base = f"{base[: found.start()]} {base[found.end() :]}"
    base = base.strip() if quoted else " ".join(base.lower().split())
    base = _OTHER_NAMES.get(base, base)
    if not _NAME.fullmatch(base):
        return None
    sizes = tuple(int(size) for size in found.groups() if size is not None) if found else ()
    size = f"({','.join(map(str, sizes))})" if sizes else ""
    head, _, rest = base.partition(" ")
    sized = f"{head}{size} {rest}" if head in ("timestamp", "time") else f"{base}{size}"
    is_array = bool(arrays)
    return ColumnType(f"{sized}[]" if is_array else sized, base, _KINDS.get(base, "other"), is_array, sizes)
