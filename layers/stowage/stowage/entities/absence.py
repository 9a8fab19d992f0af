"""Entities whose table a tenant does not have: there they do not exist while its work is done."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_absent: ContextVar[frozenset[str]] = ContextVar("absent", default=frozenset())


def absent() -> frozenset[str]:
    """The names of the entities that the tenant at work lacks, as far as that is known."""
    return _absent.get()


@contextmanager
def without(names: Collection[str]) -> Iterator[None]:
    """Work for a tenant without the tables of these entities: what asks for one of them by itself is refused
    (`stowage.postgres.tables.relations.table_of`), and no other's children, parents and lists have it.
    """
    token = _absent.set(_absent.get() | frozenset(names))
    try:
        yield
    finally:
        _absent.reset(token)
