"""What a database's catalogue says of the tables of one schema; `stowage.postgres.schema.catalogue` reads it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column: its type as Postgres writes it with the schema as search path, and its default's expression.

    `kind` is the default's: a plain column's, `identity` or `generated`. `labels` are those of an enum.
    """

    name: str
    type: str
    is_nullable: bool
    default: str | None
    kind: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key: `on_delete` is one of Postgres's letters (a r c n d)."""

    columns: tuple[str, ...]
    schema: str
    table: str
    target: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index that is no primary key; a part that is an expression is None in `columns`."""

    name: str
    columns: tuple[str | None, ...]
    parts: tuple[str, ...]
    predicate: str | None


@dataclass(frozen=True)
class Table:
    """A table or view. `checks` are the expressions of its CHECK constraints, each over one column or more."""

    name: str
    is_view: bool
    has_row_security: bool
    triggers: tuple[str, ...]
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    uniques: tuple[UniqueIndex, ...]
    predicates: tuple[str, ...]
    """The conditions of its partial indexes."""
    checks: tuple[tuple[str, str], ...]
    """Columns' name and expression of checks over one column."""

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)
