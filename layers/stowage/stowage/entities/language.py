"""The language in which people declare their tables (docs/entities.md), read into literals.

`read_declarations` takes the texts of TOML files and gives what `stowage.entities.declared` makes entities of: plain
dicts, so that the build can write them as a module that costs nothing to load. Every mistake is told with its file and
line, all of them at once.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stowage.entities.positions import line_of
from stowage.entities.reserved import FIELD_NAMES, NAMES
from stowage.entities.types import ColumnType, read_type

type Literals = dict[str, dict[str, Any]]
"""The declared entities, each as a dict of plain values, by name."""

LONGEST_NAME = 63
"""Postgres cuts longer names without a word: https://www.postgresql.org/docs/18/sql-syntax-lexical.html."""
MOST_PURGE_DAYS = 36_500
ON_DELETE = ("cascade", "restrict", "keep")
MAKERS = ("stowage", "database", "client")
_NAME = re.compile(r"[a-z][A-Za-z0-9_]*")
_ENTITY_KEYS = (
    "table", "schema", "where", "singular", "description", "key", "prefix", "label", "search", "filters", "unique",
    "created", "updated", "trash", "purgeDays", "dashboard", "gdpr", "reassign", "readOnly", "fields",
)  # fmt: skip
_FIELD_KEYS = (
    "column", "type", "values", "default", "databaseDefault", "hidden", "readOnly", "references", "onDelete",
    "filters", "agrees", "hook", "minLength", "maxLength", "minimum", "maximum",
)  # fmt: skip
_KEY_KEYS = ("column", "type", "maker", "references", "onDelete")
_LIMITS = {"minLength": "min_length", "maxLength": "max_length", "minimum": "ge", "maximum": "le"}
_PYTHON: dict[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
OWN_PREFIX = "stw_"
"""What the names in Stowage's statements begin with. A column of such a name would be taken for one of them."""
TRASH_IN_ROW = ("deleted_at", "deleted_by", "purge_at", "deleted_operation", "deleted_with")
"""The columns of a trash that lies whole in the row, as earlier versions made it (`stowage.move_trash`)."""
TIMES = {"created": ("createdAt", "created_at"), "updated": ("updatedAt", "updated_at")}


@dataclass(frozen=True)
class Mistake:
    """Something that a declaration cannot mean."""

    file: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}"


class DeclarationError(ValueError):
    """The declarations have mistakes."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, mistakes)))


def read_declarations(files: Mapping[str, str]) -> Literals:
    """The declarations of all these files (texts by name) as literals. DeclarationError with every mistake."""
    reading = _Reading(files)
    for file, text in files.items():
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            told = f"this is no TOML: {str(error).partition(' (at')[0]}"
            reading.mistakes.append(Mistake(file, int(line[1]) if line else text.count("\n") + 1, told))
            continue
        for name, given in tables.items():
            reading.take(file, name, given)
    reading.compare()
    if reading.mistakes:
        raise DeclarationError(sorted(reading.mistakes, key=lambda mistake: (mistake.file, mistake.line)))
    return reading.literals


def column_of(name: str) -> str:
    """The column of a field that names none: `brandId` is in `brand_id`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def singular_of(name: str) -> str:
    """What one record is called where the declaration does not say: the plural without its ending."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if name.endswith(ending) and not name.endswith("ss") and len(name) > len(ending) + 1:
            return name.removesuffix(ending) + instead
    return name


@dataclass
class _Table:
    """One table of a file while it is read; `complain` takes the path of a key within it."""

    file: str
    name: str
    given: dict[str, Any]
    complain: Callable[..., None]
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: tuple[tuple[str, str], ...] = ()


class _Reading:
    """Declarations while they are read, and what is wrong with them."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self.mistakes: list[Mistake] = []
        self.literals: Literals = {}
        self._tables: dict[str, _Table] = {}

    def take(self, file: str, name: str, given: Any) -> None:
        """Read one entity."""

        def complain(sentence: str, *path: str) -> None:
            line = line_of(self._files[file], (name, *path))
            self.mistakes.append(Mistake(file, line, f"{'.'.join((name, *path))}: {sentence}"))

        if not isinstance(given, dict):
            complain("expected a table of this entity, such as [posts]; every key stands within one")
        elif not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            complain(f"a name is at most {LONGEST_NAME} letters and digits, of which the first is a small letter")
        elif name in NAMES:
            complain(f"{name!r} is a route or a word of Stowage's own; give the entity another name, and `table`")
        elif name in self._tables:
            complain(f"{name} is declared already, in {self._tables[name].file}")
        else:
            table = self._tables[name] = _Table(file, name, given, complain)
            self.literals[name] = _entity(table)

    def compare(self) -> None:
        """Compare the entities with each other."""
        tables: dict[tuple[str | None, str], str] = {}
        words: dict[str, str] = {}
        for name, literal in self.literals.items():
            complain = self._tables[name].complain
            place = (literal["schema"], literal["table"])
            if place in tables:
                complain(f"{tables[place]} is of the table {place[1]!r} already", "table")
            tables.setdefault(place, name)
            for word in dict.fromkeys((name, literal["singular"])):
                if word in words:
                    complain(f"{word!r} names {words[word]} already; give another `singular`", "singular")
                words.setdefault(word, name)
        for table in self._tables.values():
            self._compare_references(table)
            self._compare_targets(table)

    def _compare_references(self, table: _Table) -> None:
        literal = self.literals[table.name]
        for name, target, on_delete, filters, agrees in literal["references"]:
            path = ("key",) if name == "id" else ("fields", name)
            if target not in self.literals:
                table.complain(f"there is no entity {target!r} that it could refer to", *path, "references")
                continue
            theirs, own = self._tables[target], table.key[0][1] if name == "id" else table.fields[name]["sql"]
            if len(theirs.key) != 1:
                table.complain(f"{target} have a key of several columns, which one field cannot hold", *path)
            elif family_of(own) != family_of(theirs.key[0][1]):
                table.complain(f"it is {own}, and the key of {target} is {theirs.key[0][1]}", *path, "type")
            if on_delete == "cascade" and not literal["soft_delete"]:
                table.complain(f"{table.name} have no trash that something could take them along to", *path, "onDelete")
            for wanted in filters:
                if wanted not in theirs.fields:
                    table.complain(f"{target} have no field {wanted!r}", *path, "filters")
                elif wanted in table.fields:
                    table.complain(f"{table.name} have a field {wanted!r} of their own", *path, "filters")
            for wanted in agrees:
                of_both = [each.fields.get(wanted) for each in (table, theirs)]
                if None in of_both or wanted == name:
                    told = f"{table.name} and {target} do not both have a field {wanted!r} beside it"
                    table.complain(told, *path, "agrees")
                elif len({family_of(each["sql"]) for each in of_both if each}) > 1:
                    table.complain(f"the types of {wanted!r} differ here and there", *path, "agrees")

    def _compare_targets(self, table: _Table) -> None:
        """Find of which field a further target of `bulk/reassign` must hold the first one's id."""
        literal = self.literals[table.name]
        targets = {name: target for name, target, *_ in literal["references"]}
        found: list[tuple[str, str, str | None]] = []
        for place, (asked, name) in enumerate(literal["reassign"]):
            if name not in targets:
                table.complain(f"{name!r} is no field that refers to an entity", "reassign", asked)
                return
            other = self.literals.get(targets[name], {"references": ()})
            first = targets[literal["reassign"][0][1]]
            of = next((own for own, target, *_ in other["references"] if target == first), None)
            found.append((asked, name, of if place else None))
        literal["reassign"] = tuple(found)


def _entity(table: _Table) -> dict[str, Any]:
    """The literal of one entity; what is wrong within it is told."""
    given = table.given
    _only(given, _ENTITY_KEYS, table.complain)
    text, flag = _texts_of(table), _flags_of(table)
    fields = _value(table, "fields", dict, "a table of fields") or {}
    columns = dict[str, str]()
    key, maker = _key(table, columns)
    times = {name: _time(table, name, columns) for name in TIMES}
    trash = _trash(table, columns)
    for name, declared in fields.items():
        if read := _field(table, name, declared):
            table.fields[name] = read
            if read["column"] in columns:
                table.complain(f"{columns[read['column']]} is in the column {read['column']!r} already", "fields", name)
            columns.setdefault(read["column"], name)
    _check_columns(table, columns)
    shown = {name for name, each in table.fields.items() if not each.get("hidden")}
    label = text("label", "id")
    if label != "id" and label not in shown:
        table.complain(f"there is no field {label!r} that is not hidden", "label")
    literal: dict[str, Any] = {
        "singular": text("singular", singular_of(table.name), _NAME),
        "table": text("table", column_of(table.name)),
        "schema": text("schema", None),
        "where": _where(table),
        "description": text("description", ""),
        "key": key,
        "maker": maker,
        "id_prefix": text("prefix", "", re.compile(r"[A-Za-z0-9._-]{0,20}")),
        "label": label,
        "search": _names(table, "search", shown),
        "filters": _names(table, "filters", shown | {"id"}),
        "unique": _unique(table, shown),
        "created": times["created"],
        "updated": times["updated"],
        "trash": trash,
        "purge_days": _purge_days(table),
        "soft_delete": trash is not None,
        "dashboard": flag("dashboard", trash is not None),
        "gdpr": flag("gdpr", True),
        "read_only": flag("readOnly", False) or len(key) > 1,
        "references": tuple(_references(table)),
        "reassign": _reassign(table, shown),
        "fields": table.fields,
    }
    if literal["singular"] in NAMES:
        table.complain(f"{literal['singular']!r} is a word of Stowage's own; give another `singular`", "singular")
    if literal["read_only"]:
        why = "records with a key of several columns are only read" if len(literal["key"]) > 1 else "they are only read"
        for name in ("trash", "reassign"):
            if name in given:
                table.complain(f"{why}, so they have no {name}", name)
    elif literal["where"]:
        _check_owner(table, literal["where"][0], columns)
    if literal["dashboard"] and trash is None:
        table.complain("the dashboard shows what has a trash", "dashboard")
    for name in literal["filters"]:
        if name != "id" and table.fields[name]["kind"] in ("timestamp", "local_timestamp"):
            table.complain(f"{name} is a time, and times are filtered by createdAfter and createdBefore", "filters")
    literal["lacks"] = _lacking(literal)
    return literal


def _check_columns(table: _Table, columns: Mapping[str, str]) -> None:
    """Columns, each with its name in the API, that Stowage's own statements could not tell from their names."""
    keys = {"id": "key", "the trash": "trash"} | {called: key for key, (called, _) in TIMES.items()}
    for column, name in columns.items():
        if column.startswith(OWN_PREFIX):
            path = ("fields", name) if name in table.fields else (keys[name],)
            table.complain(f"{column!r} may not begin with {OWN_PREFIX}: names in Stowage's statements do", *path)


def _check_owner(table: _Table, column: str, columns: Mapping[str, str]) -> None:
    """The column that says whose a record is: Stowage alone sets it."""
    name = columns.get(column)
    given = table.fields.get(name or "")
    if name and not (given and (given.get("read_only") or given.get("hidden"))):
        path = ("fields", name) if given else ("where",)
        table.complain(f"nobody gives {column!r}, which says whose a record is; say readOnly", *path)


def _lacking(literal: dict[str, Any]) -> tuple[str, ...]:
    """What Stowage cannot do yet for such an entity: then its routes refuse, by these words."""
    found = []
    if not literal["read_only"] and family_of(literal["key"][0][1]) not in ("text", "integer", "uuid"):
        found.append(f"a key of type {literal['key'][0][1]}")
    if literal["where"] and literal["where"][1] != "tenant":
        found.append("a shared table whose column does not hold the tenant's id")
    return tuple(found)


def _only(given: Mapping[str, Any], known: Sequence[str], complain: Callable[..., None], *path: str) -> None:
    for name in given:
        if name not in known:
            complain(f"unknown; the keys here are {', '.join(known)}", *path, name)


def _value(table: _Table, name: str, kind: type, expected: str) -> Any:
    value = table.given.get(name)
    if value is not None and type(value) is not kind:
        table.complain(f"expected {expected}", name)
        return None
    return value


def _texts_of(table: _Table) -> Callable[..., Any]:
    def text(name: str, usual: str | None, pattern: re.Pattern[str] | None = None) -> str | None:
        value = _value(table, name, str, "a text")
        if value is None:
            return usual
        if "\0" in value or (name != "description" and pattern is None and not _is_name(value)):
            table.complain(f"expected 1 to {LONGEST_NAME} bytes, as Postgres's names have", name)
        elif pattern and not pattern.fullmatch(value):
            table.complain("expected letters, digits and _", name)
        return str(value)

    return text


def _flags_of(table: _Table) -> Callable[[str, bool], bool]:
    def flag(name: str, usual: bool) -> bool:
        value = _value(table, name, bool, "true or false")
        return usual if value is None else value

    return flag


def _is_name(text: str) -> bool:
    return 0 < len(text.encode()) <= LONGEST_NAME and "\0" not in text


def _list_of_texts(table: _Table, value: Any, *path: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        table.complain("expected a list of texts", *path)
        return ()
    if len(set(value)) < len(value):
        table.complain("one stands there twice", *path)
    return tuple(value)


def _names(table: _Table, name: str, known: set[str]) -> tuple[str, ...]:
    if name not in table.given:
        return ()
    found = _list_of_texts(table, table.given[name], name)
    return tuple(_known(table, found, known, name))


def _known(table: _Table, names: Sequence[str], known: set[str], *path: str) -> Iterator[str]:
    for each in names:
        if each in known:
            yield each
        else:
            table.complain(f"there is no field {each!r} that is not hidden", *path)


def _unique(table: _Table, shown: set[str]) -> tuple[tuple[str, ...], ...]:
    value = table.given.get("unique", [])
    if not isinstance(value, list):
        table.complain('expected a list of lists of fields, such as [["platform", "username"]]', "unique")
        return ()
    sets = (_list_of_texts(table, each, "unique") for each in value)
    return tuple(tuple(_known(table, each, shown, "unique")) for each in sets)


def _where(table: _Table) -> tuple[str, str] | None:
    """The condition of a shared table: its column, and what of the tenant it holds."""
    value = _value(table, "where", dict, 'a condition, such as { tenant_id = "tenant" }')
    if (value is None) != ("schema" not in table.given):
        table.complain("a table in another schema has both `schema` and `where`", "where" if value else "schema")
    if value is None:
        return None
    if len(value) != 1 or next(iter(value.values())) not in ("tenant", "slug"):
        table.complain('expected one column and what it holds, "tenant" (the id) or "slug"', "where")
        return None
    [(column, held)] = value.items()
    return column, held


def _column_and_type(
    table: _Table, value: Any, usual: str | None, parts: int, *path: str
) -> tuple[str, ColumnType, str | None] | None:
    """Read `"column type maker"` or its long form `{ column, type, maker }`."""
    maker: str | None = None
    if isinstance(value, dict):
        _only(value, ("column", "type") if parts == 2 else _KEY_KEYS, table.complain, *path)
        column, written, maker = value.get("column"), value.get("type", usual), value.get("maker")
    elif isinstance(value, str):
        column, _, written = value.partition(" ")
        if parts == 3 and written.rpartition(" ")[2] in MAKERS:
            written, _, maker = written.rpartition(" ")
        written = written or usual
    else:
        column = written = None
    if not isinstance(column, str) or not isinstance(written, str) or not _is_name(column):
        table.complain(f"expected {'a column, its type and who makes it' if parts == 3 else 'a column'}", *path)
        return None
    kind = read_type(written)
    if kind is None:
        table.complain(f"{written!r} is no type of Postgres's", *path)
        return None
    return column, kind, maker


def _key(table: _Table, columns: dict[str, str]) -> tuple[tuple[tuple[str, str], ...], str]:
    value = table.given.get("key")
    if value is None:
        table.complain('say what the key is, such as key = "id bigint database"')
        return (("id", "text"),), "stowage"
    makers, found = set[str](), dict[str, str]()
    for each in value if isinstance(value, list) and value else [value]:
        read = _column_and_type(table, each, None, 3, "key")
        if read is None:
            continue
        column, kind, maker = read
        if maker not in MAKERS:
            table.complain(f"say who makes it: {', '.join(MAKERS)}", "key")
        elif maker == "stowage" and kind.base not in ("text", "character varying", "uuid"):
            table.complain(f"Stowage makes no keys of type {kind.text}; the database or the client may", "key")
        if column in found:
            table.complain(f"the column {column!r} stands there twice", "key")
        makers.add(maker or "client")
        found[column] = kind.text
    if isinstance(value, list) and any(isinstance(each, dict) and "references" in each for each in value):
        table.complain("a key of several columns refers to nothing; a field of such a column may", "key")
    table.key = tuple(found.items())
    if len(found) == 1:  # the columns of a longer key may be fields too
        columns |= dict.fromkeys(found, "id")
    return table.key or (("id", "text"),), makers.pop() if len(makers) == 1 else "client"


def _time(table: _Table, name: str, columns: dict[str, str]) -> tuple[str, str] | None:
    if name not in table.given:
        return None
    read = _column_and_type(table, table.given[name], "timestamptz", 2, name)
    if read is None:
        return None
    column, kind, _ = read
    if kind.kind not in ("timestamp", "local_timestamp") or kind.is_array:
        table.complain(f"expected a time, and {kind.text} is none", name)
    if column in columns:
        table.complain(f"{columns[column]} is in the column {column!r} already", name)
    columns.setdefault(column, TIMES[name][0])
    return column, kind.text


def _trash(table: _Table, columns: dict[str, str]) -> tuple[str, str] | None:
    """The column that says of a record that it is in the trash, and how; what else the trash needs lies beside it."""
    value = table.given.get("trash")
    if value is None:
        return None
    kind = "moment"
    if isinstance(value, dict):
        _only(value, ("flag", "nullable"), table.complain, "trash")
        if type(value.get("nullable", False)) is not bool:
            table.complain("expected true or false", "trash", "nullable")
        kind = "nullable flag" if value.get("nullable") is True else "flag"
        value = value.get("flag")
    if not isinstance(value, str) or not _is_name(value):
        table.complain('expected a column, such as "deleted_at", or { flag = "is_deleted" }', "trash")
        return None
    if value in columns:
        table.complain(f"{columns[value]} is in the column {value!r} already", "trash")
    columns.setdefault(value, "the trash")
    return value, kind


def _purge_days(table: _Table) -> int | None:
    """How long what the product deleted itself stays in the trash."""
    days: int | None = _value(table, "purgeDays", int, "a number of days")
    if days is not None and not 1 <= days <= MOST_PURGE_DAYS:
        table.complain(f"expected 1 to {MOST_PURGE_DAYS:,} days", "purgeDays")
    elif days is not None and "trash" not in table.given:
        table.complain(f"{table.name} have no trash from which something could go", "purgeDays")
    return days


def _field(table: _Table, name: str, declared: Any) -> dict[str, Any] | None:
    """The literal of one field; None, with complaints, where it cannot be read."""

    def complain(sentence: str, *path: str) -> None:
        table.complain(sentence, "fields", name, *path)

    given = {"type": declared} if isinstance(declared, str) else declared
    if not isinstance(given, dict) or not isinstance(given.get("type"), str):
        complain('expected a type, such as "varchar(255) not null", or a table that has one')
        return None
    _only(given, _FIELD_KEYS, table.complain, "fields", name)
    _check_name(name, complain)
    column = given.get("column", column_of(name))
    if not isinstance(column, str) or not _is_name(column):
        complain(f"expected a column of 1 to {LONGEST_NAME} bytes", "column")
        return None
    written, is_filled, rest = given["type"].partition(" not null")
    kind = read_type(written)
    if kind is None or rest.strip():
        complain(f"{given['type']!r} is no type of Postgres's", "type")
        return None
    found: dict[str, Any] = {"column": column, "sql": kind.text, "kind": kind.kind, "nullable": not is_filled}
    found |= _field_flags(given, complain)
    if "values" in given:
        if kind.kind not in ("text", "other") or kind.is_array:
            complain(f"only texts and enums have values, and it is {kind.text}", "values")
        found["values"] = _list_of_texts(table, given["values"], "fields", name, "values")
    if "default" in given:
        _check_default(given["default"], kind, found, complain)
        found["default"] = given["default"]
    if limits := dict(_limits(given, kind, complain)):
        found["limits"] = limits
    if "hook" in given:
        found["hook"] = _hook(given["hook"], found, complain)
    if given.keys() & {"onDelete", "filters", "agrees"} and "references" not in given:
        complain("say which entity it refers to with `references`")
    return found


def _check_name(name: str, complain: Callable[..., None]) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        complain("a field's name is letters and digits, of which the first is a small letter; `column` names any other")
    elif name in FIELD_NAMES:
        complain(f"{name!r} is a word of Stowage's own; give the field another name, and `column`")


def _field_flags(given: Mapping[str, Any], complain: Callable[..., None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, into in (("hidden", "hidden"), ("readOnly", "read_only"), ("databaseDefault", "filled")):
        if type(given.get(key, False)) is not bool:
            complain("expected true or false", key)
        elif given.get(key):
            found[into] = True
    if "default" in given and given.get("databaseDefault"):
        complain("the default is either ours or the database's", "databaseDefault")
    return found


def _hook(value: Any, found: Mapping[str, Any], complain: Callable[..., None]) -> str:
    if not isinstance(value, str) or not value.isidentifier() or value.startswith("_"):
        complain("expected the name of a function in hooks.py", "hook")
    elif found.get("hidden") or found.get("read_only"):
        complain("nobody writes a field that is hidden or readOnly, so it needs no hook", "hook")
    return str(value)


def _check_default(value: Any, kind: ColumnType, found: dict[str, Any], complain: Callable[..., None]) -> None:
    fits = type(value) in _PYTHON.get(kind.kind, (str,)) and not kind.is_array
    if not fits or (found.get("values") and value not in found["values"]):
        complain("it is not a value that the field may have", "default")


def _limits(given: Mapping[str, Any], kind: ColumnType, complain: Callable[..., None]) -> Iterator[tuple[str, Any]]:
    for key, name in _LIMITS.items():
        if key not in given:
            continue
        is_of_texts = key.endswith("Length")
        allowed = (int,) if is_of_texts else (int, float)
        if kind.is_array or kind.kind not in (("text",) if is_of_texts else ("integer", "number")):
            complain(f"{'texts' if is_of_texts else 'numbers'} have it, and it is {kind.text}", key)
        elif type(given[key]) not in allowed or (is_of_texts and given[key] < 0):
            complain("expected a number", key)
        else:
            yield name, given[key]
    if kind.kind == "text" and kind.sizes and "maxLength" not in given:
        yield "max_length", kind.sizes[0]


def _references(table: _Table) -> Iterator[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]:
    key = table.given.get("key")
    every = {"id": key} if table.key else {}
    for name, given in (every | {name: table.given["fields"][name] for name in table.fields}).items():
        if not isinstance(given, dict) or "references" not in given:
            continue
        path = ("key",) if name == "id" else ("fields", name)
        target, on_delete = given["references"], given.get("onDelete")
        if not isinstance(target, str):
            table.complain("expected the name of an entity", *path, "references")
        elif on_delete not in ON_DELETE:
            told = f"say what deleting the other record means here: {', '.join(ON_DELETE)}"
            table.complain(told, *path, "onDelete")
        elif table.fields.get(name, {}).get("hidden"):
            table.complain("a hidden field refers to nothing", "fields", name, "references")
        else:
            lists = (
                _list_of_texts(table, given[key], "fields", name, key) if key in given else ()
                for key in ("filters", "agrees")
            )
            yield (name, target, on_delete, *lists)


def _reassign(table: _Table, shown: set[str]) -> tuple[tuple[str, str], ...]:
    value = _value(table, "reassign", dict, 'names of the request and fields, such as { targetBrandId = "brandId" }')
    found = []
    for asked, name in (value or {}).items():
        if not _NAME.fullmatch(asked) or asked in ("ids", "dataType"):
            table.complain("expected a name of letters and digits other than ids and dataType", "reassign", asked)
        elif name not in shown:
            table.complain(f"there is no field {name!r} that is not hidden", "reassign", asked)
        else:
            found.append((asked, name))
    return tuple(found)


def family_of(sql_type: str) -> str:
    """Types whose values may be compared: whole numbers are alike, and so are texts."""
    found = read_type(sql_type)
    if found is None or found.is_array:
        return sql_type
    return found.kind if found.kind in ("integer", "text", "uuid") else found.base
