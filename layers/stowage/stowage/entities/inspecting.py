"""Declarations from a catalogue: what is certain is written, what is guessed says so, what cannot be is a comment."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stowage.entities.catalogue import Column, ForeignKey, Table
from stowage.entities.language import TRASH_IN_ROW, column_of, family_of, singular_of
from stowage.entities.reserved import FIELD_NAMES, NAMES
from stowage.entities.types import read_type

_MIGRATIONS = frozenset((
    "schema_migrations", "ar_internal_metadata", "django_migrations", "_prisma_migrations", "flyway_schema_history",
    "alembic_version", "knex_migrations", "knex_migrations_lock", "goose_db_version", "databasechangelog",
    "databasechangeloglock", "__efmigrationshistory",
))  # fmt: skip
"""Tables in which frameworks keep which migrations have run."""
_CREATED = (
    "created_at", "createdAt", "inserted_at", "insertedAt", "created", "created_on", "createdOn", "date_created",
    "created_date", "creation_date",
)  # fmt: skip
_UPDATED = (
    "updated_at", "updatedAt", "modified_at", "modifiedAt", "updated", "updated_on", "updatedOn", "modified",
    "last_update", "last_updated", "date_modified", "date_updated", "modified_date",
)  # fmt: skip
_CERTAIN = ("created_at", "createdAt", "updated_at", "updatedAt")
_TRASH = ("deleted_at", "deletedAt", "discarded_at", "discardedAt")
_FLAGS = ("is_deleted", "isDeleted", "deleted")
_NO_TRASH = ("archived_at", "archivedAt", "canceled_at", "cancelled_at", "canceledAt", "removed_at", "removedAt",
             "disabled_at", "is_archived", "is_active", "visible")  # fmt: skip
"""Columns that may mean a deletion to the product and often do not."""
_LABELS = ("name", "title", "label", "display_name", "full_name", "username", "email", "subject", "slug", "number",
           "code", "reference", "filename")  # fmt: skip
_SEARCHED = ("name", "title", "label", "username", "email", "description", "subject", "slug", "body", "caption")
_SECRET = re.compile(r"(^|_)(passwords?|passwd|tokens?|secrets?|digests?|hash|hashed|salt|otp|sessions?)(_|$)")
_SECRET_KEY = re.compile(r"(^|_)(session_?id|session_?key|sid)$")
"""Names of keys by which a session is known; ids are shown, whatever a column is called."""
_LITERAL_TEXT = re.compile(r"'((?:[^']|'')*)'::[^:]+")
_LITERAL_NUMBER = re.compile(r"'?\(?(-?\d+(?:\.\d+)?)\)?'?(?:::[a-z0-9 ]+)?")
_AT_LEAST = re.compile(r"\((?P<column>\S+) (?P<sign>>=|>|<=|<) \(?'?\(?(?P<bound>-?\d+)\)?'?\)?(?:::[a-z ]+)?\)")
_ONE_OF = re.compile(
    r"\(\(?\S+?\)?(?:::text)? = ANY \(\(?ARRAY\[(?P<values>.*?)\]"
    r"(?:::[a-z ]+\[\])?\)?(?:::text\[\])?\)\)"
)
_ON_DELETE = {
    "c": ("cascade", "ON DELETE CASCADE"), "n": ("keep", "ON DELETE SET NULL"), "d": ("keep", "ON DELETE SET DEFAULT"),
    "r": ("restrict", "ON DELETE RESTRICT"), "a": ("restrict", "no ON DELETE; an ORM may delete along: confirm"),
}  # fmt: skip


@dataclass
class _Entity:
    """What is found of one table; comments stand behind the line of their key, `notes` above the table."""

    name: str
    table: Table
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    trash: str | None = None
    times: dict[str, Column] = field(default_factory=dict)
    references: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    """By column: what the declaration says of the record that it refers to, and a comment."""

    @property
    def fields(self) -> list[Column]:
        """The columns that are fields: all but the key, the times and the trash."""
        used = {*(column.name for column in self.times.values()), self.trash}
        if len(self.table.key) == 1:
            used |= set(self.table.key)
        if not self.is_only_read and {column.name for column in self.table.columns} >= set(TRASH_IN_ROW):
            used |= set(TRASH_IN_ROW)
        return [column for column in self.table.columns if column.name not in used]

    @property
    def is_only_read(self) -> bool:
        """Whether Stowage does not write its records."""
        return self.table.is_view or len(self.table.key) > 1 or self.has_odd_key

    @property
    def has_odd_key(self) -> bool:
        """Whether the key is one column of a type by which records are only read."""
        column = self.table.column(self.table.key[0])
        return (
            not self.table.is_view
            and len(self.table.key) == 1
            and column is not None
            and family_of(column.type) not in ("text", "integer", "uuid")
        )

    def say(self, key: str, value: str, comment: str = "") -> None:
        """One line of the file."""
        self.lines.append(f"{key} = {value}{f'  # {comment}' if comment else ''}")


def write_declarations(schema: str, tables: Sequence[Table]) -> str:
    """The TOML that declares these tables, the same for the same tables; it has no mistakes.

    What is only guessed of views, and tables whose key looks like a secret, are commented out.
    """
    entities, guesses = dict[str, _Entity](), dict[str, _Entity]()
    left: list[str] = []
    taken = set[str]()
    for table in tables:
        if table.name.lower() in _MIGRATIONS:
            left.append(f"# {_comment(table.name)}: keeps which migrations have run; left out")
        elif not (table.key or table.is_view):
            left.append(f"# {_comment(table.name)}: no primary key, so no record of it can be named; left out")
        elif not table.columns:
            left.append(f"# {_comment(table.name)}: no columns; left out")
        elif any(len(name.encode()) > 63 for name in (table.name, *(column.name for column in table.columns))):
            left.append(f"# {_comment(table.name)}: a name of more than 63 bytes; left out")
        elif table.is_view:
            left.append(f"# {_comment(table.name)}: a view; below, as a comment, because its key is a guess")
            guesses[table.name] = _Entity(_entity_name(table.name, taken), replace(table, key=(_key_of_view(table),)))
        elif _has_secret_key(table):
            told = "its key looks like a secret, and ids are in answers, files and the journal"
            left.append(f"# {_comment(table.name)}: below, as a comment, because {told}")
            guesses[table.name] = _Entity(_entity_name(table.name, taken), table)
        else:
            entities[table.name] = _Entity(_entity_name(table.name, taken), table)
    for each in (*entities.values(), *guesses.values()):
        each.trash = None if each.is_only_read else _trash_of(each.table)
        times = {"created": _time(each.table, _CREATED), "updated": _time(each.table, _UPDATED)}
        each.times = {key: column for key, column in times.items() if column}
        _name_fields(each, _columns_with_keys(each.table, schema, entities))
    by_singular = {singular_of(each.name): each.name for each in entities.values()}
    for each in (*entities.values(), *guesses.values()):
        each.references = _references(each, schema, entities)
    for each in (*entities.values(), *guesses.values()):
        _write(each, entities, by_singular)
    head = (
        f"# Declared from the schema {_comment(schema)} by `python -m stowage.entities inspect`. Read it over: what is",
        "# guessed says so, and docs/entities.md says what each line means.",
    )
    parts = ["\n".join((*head, *left)), *("\n".join((*each.notes, *each.lines)) for each in entities.values())]
    parts += ["\n".join((*each.notes, *(f"# {line}" for line in each.lines))) for each in guesses.values()]
    return "\n\n".join(parts) + "\n"


def _write(entity: _Entity, entities: Mapping[str, _Entity], by_singular: Mapping[str, str]) -> None:
    table = entity.table
    if table.triggers:
        entity.notes.append(f"# triggers: {_comment(', '.join(table.triggers))}")
    if table.has_row_security:
        entity.notes.append("# row-level security: `check` says whether Stowage's roles see every row")
    entity.lines.append(f"[{entity.name}]")
    if table.name != column_of(entity.name):
        entity.say("table", _text(table.name))
    if singular_of(entity.name) == entity.name:
        entity.notes.append(f"# {entity.name}: no singular is known; give one with `singular`")
    _write_key(entity)
    if table.is_view or entity.has_odd_key:
        entity.say("readOnly", "true", "" if table.is_view else "by a key of this type records are read, not written")
    _write_label(entity)
    _write_uniques(entity)
    for key, column in entity.times.items():
        kind = "" if column.type == "timestamp with time zone" else f" {column.type}"
        entity.say(key, _text(f"{column.name}{kind}"), "" if column.name in _CERTAIN else "guessed")
    _write_trash(entity)
    if entity.fields:
        entity.lines.append(f"[{entity.name}.fields]")
    for column in entity.fields:
        given, comment = entity.references.get(column.name, ({}, ""))
        _write_field(entity, column, (given, "; ".join(filter(None, (comment, _may_agree(entity, column, entities))))))
    _write_suspicions(entity, by_singular)


def _has_secret_key(table: Table) -> bool:
    """Whether the texts in a column of its key look like secrets."""
    columns = [column for column in table.columns if column.name in table.key and _is_text(column)]
    return any(_is_hidden(column) or _SECRET_KEY.search(_words_of(column.name)) for column in columns)


def _key_of_view(table: Table) -> str:
    """What may be the key of a view: the column of a unique index (of a materialized one), one that is called so."""
    unique = [index.columns[0] for index in table.uniques if len(index.columns) == 1 and index.predicate is None]
    names = [column.name for column in table.columns]
    likely = [name for name in names if name == "id" or re.search(r"(_id|Id)$", name)]
    return next(iter([*filter(None, unique), *(["id"] if "id" in names else []), *likely, *names]))


def _columns_with_keys(table: Table, schema: str, entities: Mapping[str, _Entity]) -> set[str]:
    """The columns that hold another record's key, by a foreign key or by name and type; it is shown there as its id."""
    found = set[str]()
    for key in table.foreign_keys:
        other = entities.get(key.table) if key.schema == schema else None
        if other:
            found |= {ours for ours, theirs in zip(key.columns, key.target, strict=True) if theirs in other.table.key}
    types = {singular_of(each.name): each.table.column(each.table.key[0]) for each in entities.values()}
    for column in table.columns:
        stem = re.fullmatch(r"(.+)_id", _words_of(column.name))
        theirs_key = types.get(stem[1]) if stem else None
        if theirs_key and theirs_key.type == column.type:
            found.add(column.name)
    return found


def _name_fields(entity: _Entity, shown: set[str]) -> None:
    """A name for each column that is none of the key, as an API has them. No column in `shown` is a secret."""
    taken = {"id"}
    for column in entity.fields:
        name = _camel(column.name) or "field"
        name = f"field{name}" if not name[0].isalpha() else name
        name = f"{name}Value" if name in FIELD_NAMES else name
        name = name[:50]
        while name in taken:
            stem, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
            name = f"{stem}{int(number or 1) + 1}"
        taken.add(name)
        entity.names[column.name] = name
        if column.name not in shown and _is_hidden(column):
            entity.hidden.add(column.name)


def _camel(column: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", column) if word]
    if not words:
        return ""
    first, *rest = words
    first = first.lower() if first.isupper() else first[0].lower() + first[1:]
    return first + "".join(word[0].upper() + word[1:] for word in rest)


def _entity_name(table: str, taken: set[str]) -> str:
    """The plural that names the records of a table, and no route."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", table)) if word]
    name = "_".join(word.lower() for word in words) or "table"
    name = name if name[0].isalpha() else f"table_{name}"
    name = _plural(name)[:55]
    if name in NAMES or singular_of(name) in NAMES:
        name = f"app_{name}"
    while name in taken or singular_of(name) in taken:
        stem, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
        name = f"{stem}{int(number or 1) + 1}"
    taken.update((name, singular_of(name)))
    return name


def _plural(name: str) -> str:
    if name.endswith("s"):
        return f"{name}es" if name.endswith("ss") else name
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + ("es" if re.search(r"(x|ch|sh)$", name) else "s")


def _write_key(entity: _Entity) -> None:
    parts, comment = [], ""
    for name in entity.table.key:
        column = entity.table.column(name)
        assert column is not None, f"the key's {name}"
        is_constant = any(each.fullmatch(column.default or "") for each in (_LITERAL_TEXT, _LITERAL_NUMBER))
        is_made = column.kind == "identity" or (column.default is not None and not is_constant)
        if not is_made and len(entity.table.key) == 1:
            told = "its default is one constant" if is_constant else "no default"
            comment = f"{told}: whoever makes a record gives its key"
        maker = "database" if is_made else "client"
        refers, told = entity.references.get(name, ({}, "")) if len(entity.table.key) == 1 else ({}, "")
        if " " in name or refers:
            long = {"column": _text(name), "type": _text(column.type), "maker": _text(maker)} | refers
            parts.append(f"{{ {', '.join(f'{key} = {each}' for key, each in long.items())} }}")
            comment = "; ".join(filter(None, (comment, told)))
        else:
            parts.append(_text(f"{name} {column.type} {maker}"))
    entity.say("key", parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]", comment)


def _write_label(entity: _Entity) -> None:
    texts = [column.name for column in entity.fields if _is_text(column) and column.name not in entity.hidden]
    plain = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(): name for name in texts}
    label = next((plain[name] for name in _LABELS if name in plain), None)
    label = label or next((name for word, name in plain.items() if word.endswith("_name")), None)
    if label:
        entity.say("label", _text(entity.names[label]), "guessed")
    searched = list(dict.fromkeys([*([label] if label else []), *(plain[name] for name in _SEARCHED if name in plain)]))
    if searched:
        entity.say("search", f"[{', '.join(_text(entity.names[name]) for name in searched[:3])}]", "guessed")


def _write_uniques(entity: _Entity) -> None:
    sets = []
    for index in entity.table.uniques:
        columns = [column for column in index.columns if column is not None]
        spelled = f"{', '.join(index.parts)}{f' WHERE {index.predicate}' if index.predicate else ''}"
        is_plain = len(columns) == len(index.columns) and set(columns) <= entity.names.keys() - entity.hidden
        if is_plain and (index.predicate is None or _excludes_trash(index.predicate, entity.trash)):
            sets.append(f"[{', '.join(_text(entity.names[column]) for column in columns)}]")
        else:
            entity.notes.append(f"# unique in the database only: {_comment(f'{index.name} ({spelled})')}")
    if sets:
        entity.say("unique", f"[{', '.join(dict.fromkeys(sets))}]")


def _excludes_trash(predicate: str, trash: str | None) -> bool:
    if trash is None:
        return False
    name = trash if re.fullmatch(r"[a-z_][a-z0-9_]*", trash) else f'"{trash}"'
    return predicate in (f"({name} IS NULL)", f"(NOT {name})", f"({name} = false)", f"({name} IS NOT TRUE)")


def _time(table: Table, names: Sequence[str]) -> Column | None:
    for name in names:
        column = table.column(name)
        if column and re.match(r"timestamp\b", column.type) and "[" not in column.type and name not in table.key:
            return column
    return None


def _trash_of(table: Table) -> str | None:
    for name in _TRASH:
        column = table.column(name)
        if column and column.is_nullable and re.match(r"timestamp\b", column.type) and "[" not in column.type:
            return name
    for name in _FLAGS:
        column = table.column(name)
        if column and column.type == "boolean":
            return name
    return None


def _write_trash(entity: _Entity) -> None:
    table = entity.table
    agreeing = [each for each in table.predicates if _excludes_trash(each, entity.trash)]
    comment = f"guessed; a partial index agrees: {_comment(agreeing[0])}" if agreeing else "guessed: confirm"
    flag = table.column(entity.trash) if entity.trash in _FLAGS else None
    if flag:
        nullable = ", nullable = true" if flag.is_nullable else ""
        entity.say("trash", f"{{ flag = {_text(flag.name)}{nullable} }}", comment)
    elif entity.trash:
        entity.say("trash", _text(entity.trash), comment)
    elif entity.is_only_read and (column := _trash_of(table)):
        entity.notes.append(f"# {column}: such records are only read, so that it is a plain column")
    for name in _NO_TRASH:
        if table.column(name):
            entity.notes.append(f"# {name}: taken for a plain column and not for the trash")


def _references(entity: _Entity, schema: str, entities: Mapping[str, _Entity]) -> dict[str, tuple[dict[str, str], str]]:
    found: dict[str, tuple[dict[str, str], str]] = {}
    for declared in sorted(entity.table.foreign_keys, key=lambda each: -len(each.columns)):
        other = entities.get(declared.table) if declared.schema == schema else None
        key, shared = _split(entity, declared, other)
        if other and key.columns[0] in found and found[key.columns[0]][0]["references"] == _text(other.name):
            continue  # the same reference once more, without what both share
        reason = _no_reference(entity, key, other)
        if reason or other is None or key.columns[0] in found:
            table = key.table if key.schema == schema else f"{key.schema}.{key.table}"
            told = f"{', '.join(key.columns)} → {table} ({', '.join(key.target)})"
            entity.notes.append(f"# a reference that cannot be declared: {_comment(told)}{reason and f': {reason}'}")
            continue
        on_delete, comment = _ON_DELETE[key.on_delete]
        if on_delete == "cascade" and entity.trash is None:
            on_delete, comment = "restrict", "ON DELETE CASCADE, but there is no trash here to take them along to"
        given = {"references": _text(other.name), "onDelete": _text(on_delete)}
        if shared:
            given["agrees"] = f"[{', '.join(map(_text, shared))}]"
        found[key.columns[0]] = (given, comment)
    return found


def _split(entity: _Entity, key: ForeignKey, other: _Entity | None) -> tuple[ForeignKey, list[str]]:
    """A foreign key of several columns as one to the other's key, and the fields that both must have alike.

    (brand_id, group_id) → groups (brand_id, id) is a reference of `group_id` that agrees in `brandId`. The key itself
    where the language cannot say it: a shared column that is called otherwise there, or may be null here, which
    Postgres then does not compare.
    """
    pairs = dict(zip(key.columns, key.target, strict=True))
    if other is None or len(pairs) < 2 or len(other.table.key) != 1:
        return key, []
    refers = [column for column, target in pairs.items() if target == other.table.key[0]]
    shared = []
    for column, target in pairs.items():
        if column not in refers:
            ours, name = entity.table.column(column), entity.names.get(column)
            is_told = name == other.names.get(target) and ours and not ours.is_nullable
            if name is None or not is_told or column in entity.hidden or target in other.hidden:
                return key, []
            shared.append(name)
    return replace(key, columns=tuple(refers), target=other.table.key), shared


def _may_agree(entity: _Entity, column: Column, entities: Mapping[str, _Entity]) -> str:
    """A comment on a reference to a record that refers, by a field of the same name, to the same entity as this one."""
    given, _ = entity.references.get(column.name, ({}, ""))
    other = next((each for each in entities.values() if _text(each.name) == given.get("references")), None)
    if other is None or other is entity or entity.is_only_read or "agrees" in given:
        return ""
    ours, theirs = (
        {each.names[name]: told["references"] for name, (told, _) in each.references.items() if name in each.names}
        for each in (entity, other)
    )
    both = [name for name, refers in ours.items() if theirs.get(name) == refers and name != entity.names[column.name]]
    told = f"agrees = [{', '.join(map(_text, both))}]"
    return f"both have {' and '.join(both)}: add {told} where it must be the same" if both else ""


def _no_reference(entity: _Entity, key: ForeignKey, other: _Entity | None) -> str:
    if len(key.columns) != 1:
        return "several columns"
    if other is None:
        return "it is not declared here"
    if key.target != other.table.key:
        return "it is not that table's key"
    if key.columns != entity.table.key and key.columns[0] not in entity.names.keys() - entity.hidden:
        return "the column is hidden" if key.columns[0] in entity.hidden else "the column is no field"
    own, theirs = entity.table.column(key.columns[0]), other.table.column(key.target[0])
    return "" if own and theirs and family_of(own.type) == family_of(theirs.type) else "the types differ"


def _write_suspicions(entity: _Entity, by_singular: Mapping[str, str]) -> None:
    """Comments on columns that look like references and have no foreign key."""
    constrained = {name for key in entity.table.foreign_keys for name in key.columns}
    for column in entity.table.columns:
        stem = re.fullmatch(r"(.+?)(?:_id|Id)", column.name)
        told = entity.references.keys() | constrained | {*entity.table.key}
        if stem is None or column.name in told:
            continue
        other = by_singular.get(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem[1]).lower())
        if any(entity.table.column(f"{stem[1]}{kind}") for kind in ("_type", "Type")):
            entity.lines.append(f"# {_comment(column.name)}: with its type beside it, so that it refers to several")
        elif other:
            entity.lines.append(f"# {_comment(column.name)}: no foreign key; it may refer to {other}")


def _write_field(entity: _Entity, column: Column, reference: tuple[dict[str, str], str]) -> None:
    name = entity.names[column.name]
    given, comments = dict[str, str](), list[str]()
    if column_of(name) != column.name:
        given["column"] = _text(column.name)
    written = f"{column.type}{'' if column.is_nullable else ' not null'}"
    given["type"] = _text(written)
    if column.kind == "generated":
        given["readOnly"] = "true"
        comments.append("generated")
    if column.name in entity.hidden:
        given["hidden"] = "true"
        why = "bytes: left out unless you show them" if column.type == "bytea" else "guessed: a secret"
        is_left_to_the_table = column.is_nullable or column.default is not None or column.kind != "plain"
        must_be_given = not (is_left_to_the_table or entity.is_only_read)
        comments.append(f"{why}{'; must be given, so no record can be created: confirm' if must_be_given else ''}")
    _add_rules(entity, column, given, comments)
    _add_default(column, given, comments)
    if reference[0]:
        given |= reference[0]
        comments.append(reference[1])
    value = given["type"] if len(given) == 1 else f"{{ {', '.join(f'{key} = {each}' for key, each in given.items())} }}"
    entity.say(name, value, "; ".join(filter(None, comments)))


def _add_rules(entity: _Entity, column: Column, given: dict[str, str], comments: list[str]) -> None:
    """The values of an enum, and the checks over this column that the language can say."""
    kind = read_type(column.type)
    if column.labels:
        given["values"] = f"[{', '.join(map(_text, column.labels))}]"
    for name, expression in entity.table.checks:
        if name != column.name:
            continue
        bound, one_of = _AT_LEAST.fullmatch(expression), _ONE_OF.fullmatch(expression)
        if bound and kind and kind.kind in ("integer",) and not kind.is_array and bound["column"].strip('"') == name:
            at = int(bound["bound"]) + {">": 1, "<": -1}.get(bound["sign"], 0)
            given["minimum" if ">" in bound["sign"] else "maximum"] = str(at)
        elif one_of and _is_text(column) and "values" not in given and (values := _texts_in(one_of["values"])):
            given["values"] = f"[{', '.join(map(_text, values))}]"
        else:
            comments.append(f"CHECK {_comment(expression)}")


def _texts_in(listed: str) -> list[str]:
    """The texts of `'a'::text, 'b'::text`; none where there is anything else."""
    item = r"\(?'((?:[^']|'')*)'::(?:text|character varying)\)?(?:::text)?"
    if not re.fullmatch(rf"{item}(?:, {item})*", listed):
        return []
    found = [text.replace("''", "'") for text in re.findall(item, listed)]
    return found if all(found) and len(set(found)) == len(found) else []


def _add_default(column: Column, given: dict[str, str], comments: list[str]) -> None:
    if column.kind == "generated":
        return
    literal = _literal(column, given)
    if literal is not None:
        given["default"] = literal
    elif column.default is not None or column.kind == "identity":
        given["databaseDefault"] = "true"
        comments.append(_comment(column.default or "identity"))


def _literal(column: Column, given: Mapping[str, str]) -> str | None:
    """A default as TOML, where it is a plain value that the language takes."""
    kind = read_type(column.type)
    if column.default is None or kind is None or kind.is_array:
        return None
    text, number = _LITERAL_TEXT.fullmatch(column.default), _LITERAL_NUMBER.fullmatch(column.default)
    if kind.kind == "boolean" and column.default in ("true", "false"):
        return column.default
    if kind.kind in ("integer", "number") and number and (kind.kind == "number" or "." not in number[1]):
        return number[1]
    if text and (_is_text(column) or column.labels):
        value = _text(text[1].replace("''", "'"))
        return value if "values" not in given or value in given["values"] else None
    return None


def _is_text(column: Column) -> bool:
    kind = read_type(column.type)
    return kind is not None and kind.kind == "text" and not kind.is_array


def _is_hidden(column: Column) -> bool:
    kind = read_type(column.type)
    holds_text = kind is None or kind.kind in ("text", "other", "uuid")
    return column.type == "bytea" or (holds_text and _SECRET.search(_words_of(column.name)) is not None)


def _words_of(name: str) -> str:
    """A column's name with _ between its words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _text(text: str) -> str:
    """A basic string of TOML: https://toml.io/en/v1.0.0#string."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_escaped(character) for character in escaped) + '"'


def _escaped(character: str) -> str:
    return character if character == "\t" or " " <= character != "\x7f" else f"\\u{ord(character):04x}"


def _comment(text: str) -> str:
    """A text as a comment's part: one line, shortened."""
    line = " ".join("".join(_iterate_printable(text)).split())
    return line if len(line) <= 160 else f"{line[:160]}…"


def _iterate_printable(text: str) -> Iterator[str]:
    for character in text:
        yield character if character.isprintable() else " "
