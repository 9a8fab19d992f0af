"""How tables of declared entities look in tenants' schemas; `stowage.postgres.tables.shapes` reads them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShapeColumn:
    """A column: its type as Postgres writes it; `is_filled` by a default, an identity or an expression; the `labels` of
    an enum.
    """

    type: str
    is_nullable: bool
    is_filled: bool
    is_generated: bool
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """The first column of an index; `is_key`: it alone is unique. `unique`: the columns that are, together."""

    column: str
    is_partial: bool
    is_key: bool
    unique: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shape:
    """A table as some tenants have it: how many, and some of their schemas.

    `columns` are all that it has, `lacking` the rights that Stowage's roles do not have there, each as `role RIGHT`,
    `hides` whether row-level security keeps rows from the role for requests.
    """

    table: str
    tenants: int
    schemas: tuple[str, ...]
    is_view: bool
    columns: dict[str, ShapeColumn]
    indexes: tuple[Index, ...]
    lacking: tuple[str, ...]
    hides: bool


@dataclass(frozen=True)
class Absent:
    """A table that some tenants lack, or (`table` None) tenants whose schema there is none of."""

    table: str | None
    tenants: int
    schemas: tuple[str, ...]
