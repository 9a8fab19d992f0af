"""Values that do not fit their columns, found in one pass: which record, which column.

Postgres names no column where a value is of another type (SQLSTATE class 22). So each record is read by itself, in a
block whose exception is caught, and a record that fails is read column by column. That costs about 7 µs a record,
however many fail; splitting them until each stands alone would cost a statement for each bad one. The check of a domain
is no misfit: its own error names it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from stowage.basics.json_numbers import write_json
from stowage.entities.declaration import Entity
from stowage.postgres.session.encodings import holds_everything, is_held
from stowage.postgres.tables.relations import table_of

_PREPARE: LiteralString = """
CREATE TEMPORARY TABLE IF NOT EXISTS stw_judged (n bigint PRIMARY KEY, item jsonb, culprit text) ON COMMIT DELETE ROWS;
TRUNCATE pg_temp.stw_judged
"""
_FILL: LiteralString = """
INSERT INTO pg_temp.stw_judged (n, item)
SELECT n, item FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS given (item, n)
"""
# As `stowage.postgres.session.violations.is_misfit` has it.
_UNREADABLE = sql.SQL("data_exception OR syntax_error OR feature_not_supported OR internal_error")
_JUDGE = sql.SQL("""
DO $stw$
DECLARE
    stw_given record;
    stw_column text;
BEGIN
    FOR stw_given IN SELECT n, item FROM pg_temp.stw_judged LOOP
        BEGIN
            PERFORM jsonb_populate_record(NULL::{table}, stw_given.item);
        EXCEPTION WHEN integrity_constraint_violation THEN
            NULL;
        WHEN {unreadable} THEN
            FOR stw_column IN SELECT jsonb_object_keys(stw_given.item) LOOP
                BEGIN
                    PERFORM jsonb_populate_record(
                        NULL::{table}, jsonb_build_object(stw_column, stw_given.item -> stw_column)
                    );
                EXCEPTION WHEN integrity_constraint_violation THEN
                    NULL;
                WHEN {unreadable} THEN
                    UPDATE pg_temp.stw_judged SET culprit = stw_column WHERE stw_judged.n = stw_given.n;
                    EXIT;
                END;
            END LOOP;
        END;
    END LOOP;
END
$stw$
""")
_CULPRITS: LiteralString = "SELECT n, culprit FROM pg_temp.stw_judged WHERE culprit IS NOT NULL ORDER BY n"


def find_misfits(
    connection: psycopg.Connection, schema: str, entity: Entity, items: Sequence[Mapping[str, Any]]
) -> list[tuple[int, str]]:
    """The items (values by column) of which a value does not fit: each one's number, from 1, and the first such column.

    In a transaction. The statements are five, however many items there are.
    """
    connection.execute(_PREPARE)
    connection.execute(_FILL, (write_json(items),))
    connection.execute(_JUDGE.format(table=table_of(schema, entity), unreadable=_UNREADABLE))
    return connection.execute(_CULPRITS).fetchall()


def find_unheld(connection: psycopg.Connection, items: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """The items with a character that the database does not have in its encoding: number and first column, as above.

    Such an item cannot even be sent.
    """
    if holds_everything(connection):
        return []

    def is_unheld(value: Any) -> bool:
        return not is_held(connection, value if isinstance(value, str) else write_json(value))

    found = ((n, next(filter(lambda name: is_unheld(item[name]), item), None)) for n, item in enumerate(items, 1))
    return [(n, column) for n, column in found if column is not None]
