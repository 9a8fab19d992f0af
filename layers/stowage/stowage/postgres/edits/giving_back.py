"""Records that an operation took out of the trash and changed get what they had there, each as far as rules allow."""

from collections.abc import Sequence

import psycopg

from stowage.entities.declaration import Entity
from stowage.postgres.edits.undo import Judged, put_back
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.savepoints import refusal


def give_back(
    connection: psycopg.Connection, edit: Edit, declared: Entity, codes: list[str | None], places: Sequence[int]
) -> None:
    """Give the gathered records at these places (from 0) what they had. Where a rule of the database refuses some of
    them together, halves are tried; one that is refused alone gets the code `conflict`.
    """
    if not places:
        return
    others = [None if place in places else "another" for place in range(len(codes))]
    try:
        with connection.transaction():
            put_back(connection, edit, declared, Judged([*others], set()), "restored")
    except psycopg.DatabaseError as error:
        if refusal(error) is None:
            raise
        if len(places) == 1:
            codes[places[0]] = "conflict"
            return
        middle = len(places) // 2
        for half in (places[:middle], places[middle:]):
            give_back(connection, edit, declared, codes, half)
