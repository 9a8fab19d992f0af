"""Ids that a path may have cut (docs/api.md, Ids).

An HTTP API cuts a path at a decoded `?`: a request for the record `abc?x=2` can arrive as one for
`abc`, which may be another record.
"""

from collections.abc import Iterable

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from stowage.basics.errors import BadRequestError
from stowage.basics.ids import encode_id
from stowage.entities.declaration import Entity
from stowage.postgres.tables.relations import id_of, rows_of

# `@` follows `?`, so this is the range of the texts that begin with the id and a `?`. The index
# that `soft-delete` prints holds these ids alone.
_GOES_ON = sql.SQL("""
EXISTS (
    SELECT FROM {table} AS record
    WHERE strpos({id}::text, '?') > 0
      AND {id}::text COLLATE "C" >= %(id)s || '?' AND {id}::text COLLATE "C" < %(id)s || '@'
)
""")
_ANY = sql.SQL("SELECT {}")


def refuse_cut_id(connection: psycopg.Connection, schema: str, entities: Iterable[Entity], record_id: str) -> None:
    """BadRequestError `encode_id` if a record of these entities has an id that continues this one with a `?`.

    For changes to the one record that a path names, by its raw id. The path held it as `encode_id` gives it, and a raw
    id may begin with such a text too. Records in the trash count too.
    """
    # A number or a uuid holds no question mark.
    conditions = [
        _GOES_ON.format(table=rows_of(schema, each), id=id_of(each)) for each in entities if each.key.type == "text"
    ]
    if not conditions:
        return
    statement = _ANY.format(sql.SQL(" OR ").join(conditions))
    with connection.cursor(row_factory=scalar_row) as cursor:
        if cursor.execute(statement, {"id": encode_id(record_id)}).fetchone():
            raise BadRequestError(
                "Another record's id begins with this id and a question mark, so the address may have been cut there."
                " Send that record's id as answers give it (~ and base64url); for this one use a route that takes"
                " ids in its body.",
                "encode_id",
            )
