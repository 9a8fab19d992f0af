"""New records: one statement inserts them all, writes their journal, and gives them back as JSON.

Nobody is asked row by row: what the table refuses is skipped by ON CONFLICT, what has no live parent by a semi-join,
and the number of rows that came through tells whether all did. Only where some did not, further statements ask why.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from stowage.basics.json_numbers import write_json
from stowage.basics.sizes import too_large_record
from stowage.entities.declaration import DATABASE, Entity
from stowage.postgres.edits.new_ids import make_defaults, make_ids, pass_over
from stowage.postgres.edits.rules import (
    Problem,
    column_of,
    find_problems,
    has_parent,
    misfits,
    parent_cte,
    parents_of,
)
from stowage.postgres.edits.settling import read_settled, settle_staged
from stowage.postgres.journal.changes import Lines, Summary, append_staged, journalled, prepare_staging, staged
from stowage.postgres.journal.images import whole_image
from stowage.postgres.reads.records import record_json
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.own_rules import has_after_triggers, skipped
from stowage.postgres.session.savepoints import Refused, tried
from stowage.postgres.session.violations import Violation
from stowage.postgres.session.violations import taken as violated
from stowage.postgres.tables.relations import id_of, table_of
from stowage.postgres.tables.unique_rules import is_in_the_way, undeclared_rules, with_generated

type Row = dict[str, Any]
"""A new record: values by column name, the key and every own column among them but those left to the database."""

_INSERT = sql.SQL("""
WITH given AS MATERIALIZED (
    SELECT stw_item.*, row_number() OVER () AS stw_n
    FROM json_populate_recordset(NULL::{table}, %(rows)s::json) AS stw_item
),
{parents}written AS (
    INSERT INTO {table} AS made ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {given_columns} FROM given WHERE {sound} ORDER BY {order} {skipping}
    RETURNING made.{id} AS id, {record} AS record, {image} AS after
),
counted AS MATERIALIZED (SELECT count(*) AS stw_rows FROM written),
{journal}
SELECT stw_rows, (
           SELECT CASE WHEN bool_and(written.record IS NOT NULL)
                       THEN string_agg(written.record, ',' ORDER BY given.stw_n) END
           FROM written JOIN given ON given.{id} = written.id
           WHERE stw_rows = %(total)s
       ),
       CASE WHEN stw_rows <> %(total)s THEN ARRAY(
           SELECT stw_n FROM given WHERE NOT EXISTS (SELECT FROM written WHERE written.id = given.{id}) ORDER BY stw_n
       ) END
FROM counted
""")
_WRITTEN = sql.SQL("written JOIN (SELECT {} AS id, stw_n FROM given) AS stw_given USING (id)")
_WHOLE = sql.SQL("FROM counted WHERE stw_rows = %(total)s")
_BY_BYTES, _BY_VALUE = sql.SQL('{}::text COLLATE "C"'), sql.SQL("{}")
_AT = sql.SQL("%(at)s")
_TRUE: LiteralString = "true"
SKIPPING = sql.SQL("ON CONFLICT DO NOTHING")
"""Rows that the table refuses are left out; "" where it has a rule that does not allow this (`tried`)."""
_TAKEN = "23505"
"""The SQLSTATE of what ON CONFLICT skips."""


def with_ids(connection: psycopg.Connection, edit: Edit, entity: Entity, rows: Sequence[Row]) -> list[Row]:
    """The rows, those that came without an id with one, and in a table that all tenants share each with its tenant;
    the database's sequence passes over ids that were given.

    A column with a default of the database's own that only some rows name gets it in the others; one that none names is
    left to the statement. MisconfiguredError as `make_ids`.
    """
    for field in entity.own:
        named = sum(field.column in row for row in rows) if field.default is DATABASE else 0
        if 0 < named < len(rows):
            made = iter(make_defaults(connection, edit.schema, entity, field, len(rows) - named))
            rows = [row if field.column in row else {**row, field.column: next(made)} for row in rows]
    key = entity.column("id")
    lacking = sum(key not in row for row in rows)
    if lacking < len(rows):
        pass_over(connection, edit.schema, entity, (row[key] for row in rows if key in row))
    ids = iter(make_ids(connection, edit, entity, lacking) if lacking else ())
    if lacking:
        rows = [row if key in row else {key: next(ids), **row} for row in rows]
    owner = dict.fromkeys(entity.owner, edit.tenant.id)
    return [row | owner for row in rows] if owner else list(rows)


def insert_records(
    connection: psycopg.Connection,
    edit: Edit,
    entity: Entity,
    rows: Sequence[Row],
    told: Mapping[str, Any] | None = None,
    *,
    places: Sequence[int] | None = None,
    columns: Sequence[str] | None = None,
) -> str | Refused:
    """Insert records and journal them, with the summary that is told of the operation; one statement.

    Their JSON, joined by commas in their order; or why the database refused one of them, and then nothing is left of
    it. Rows go in by the order of their unique fields, so that two who import the same do not deadlock. With `places`,
    those of the rows in the whole operation, their entries wait for `append_staged` instead, and no summary is written.
    With `columns`, which every row has, these are inserted and no others, undeclared ones and the times among them; the
    JSON is then "" if the records are too large for an answer.
    """
    if waits := places is None and has_after_triggers(connection, edit.schema, entity):
        prepare_staging(connection)
        places = range(1, len(rows) + 1)
    given_columns = set[str]().union(*rows)
    own = columns or [column for column in entity.given_columns if column in given_columns]
    times = [] if columns else [time.column for time in (entity.created, entity.updated) if time]
    parents = parents_of(entity)
    given = sql.Identifier("given")
    wanted = sql.SQL("SELECT {} FROM given")
    key = entity.unique[0] if entity.unique else ("id",)
    lines = Lines(
        "written",
        entity.name,
        "created",
        source=_WRITTEN.format(id_of(entity)),
        n="stw_n" if places is None else "(%(places)s::bigint[])[stw_n]",
        before=sql.SQL("NULL::jsonb"),
    )
    summary = Summary(entity.name, sql.SQL("%(told)s")) if told is not None else None

    def compose(skipping: sql.SQL) -> sql.Composed:
        return _INSERT.format(
            skipping=skipping,
            table=table_of(edit.schema, entity),
            id=id_of(entity),
            parents=sql.SQL("").join(
                sql.SQL("{},\n").format(parent_cte(edit.schema, parent, wanted.format(sql.Identifier(parent.column))))
                for parent in parents
            ),
            columns=sql.SQL(", ").join(map(sql.Identifier, (*own, *times))),
            given_columns=sql.SQL(", ").join([*(column_of(given, column) for column in own), *[_AT] * len(times)]),
            sound=sql.SQL(" AND ").join([sql.SQL(_TRUE), *(has_parent(parent, given) for parent in parents)]),
            order=sql.SQL(", ").join([*(_in_order(entity, name) for name in key), sql.SQL("stw_n")]),
            image=whole_image(entity, "made"),
            record=record_json(entity, "made"),
            journal=journalled(lines, summary=summary, when=_WHOLE) if places is None else staged(lines),
        )

    row = tried(
        connection,
        compose(SKIPPING),
        {
            **edit.given,
            "rows": write_json(rows),
            "total": len(rows),
            "told": Jsonb(told),
            "places": places and list(places),
        },
        lambda row: row[0] == len(rows),
        strictly=lambda: compose(sql.SQL("")),
    )
    if isinstance(row, Refused):
        return row
    count, records, missing = row
    if count == len(rows):
        if records is None and not columns:  # a trigger or a default has made one larger than the request
            raise too_large_record()
        settle_staged(connection, edit.schema, entity)
        records = read_settled(
            connection, edit.schema, entity, [str(row[entity.column("id")]) for row in rows], records
        )
        if waits:
            append_staged(connection, edit, entity.name, told)
        return str(records or "")
    candidates = _CANDIDATES.format(table=table_of(edit.schema, entity))
    return taken(connection, edit.schema, entity, candidates, {"rows": write_json(rows)}, missing)


def _in_order(entity: Entity, name: str) -> sql.Composed:
    """A field of `given` to sort by, numbers and uuids as their index has them."""
    key = entity.key_of(name)
    return (_BY_VALUE if key and key.type != "text" else _BY_BYTES).format(
        column_of(sql.Identifier("given"), entity.column(name))
    )


_CANDIDATES = sql.SQL("""
candidates AS MATERIALIZED (
    SELECT stw_item.*, row_number() OVER () AS stw_n
    FROM json_populate_recordset(NULL::{table}, %(rows)s::json) AS stw_item
)""")
_ALIKE = sql.SQL("""
SELECT {name}::text WHERE EXISTS (SELECT FROM candidates WHERE candidates.stw_n = ANY(%(missing)s) AND {in_the_way})
""")
_CANDIDATE = sql.SQL("(SELECT candidates.*)")


def taken(
    connection: psycopg.Connection,
    schema: str,
    entity: Entity,
    candidates: sql.Composable,
    parameters: Mapping[str, Any],
    missing: Sequence[int],
) -> Refused:
    """Why the `missing` ones of the candidates (as in `find_problems`) were not inserted, though nothing is wrong with
    them by themselves.

    Another candidate may be in the way, by a unique rule that only the table has; else a trigger left them out.
    """
    rules = [
        _ALIKE.format(
            name=sql.Literal(rule.name),
            in_the_way=is_in_the_way(
                with_generated(rule, sql.Identifier("candidates")), entity, rule, _CANDIDATE, "candidates"
            ),
        )
        for rule in undeclared_rules(connection, schema, [entity])[entity.name]
    ]
    violation: Violation | None = None
    if rules:
        statement = sql.SQL("WITH {} {}").format(candidates, sql.SQL(" UNION ALL ").join(rules))
        found = connection.execute(statement, {**parameters, "missing": list(missing)}).fetchall()
        violation = violated([name for (name,) in found], entity.table) if found else None
    return Refused(_TAKEN, tuple(missing), violation or skipped(connection, schema, entity, "INSERT"))


def insert_problems(
    connection: psycopg.Connection, schema: str, entity: Entity, rows: Sequence[Row]
) -> list[Problem] | None:
    """Why rows cannot be inserted, each by itself; duplicates are not looked for. Where values do not fit, those alone
    are told; None where nothing is found although the database refuses the rows.
    """
    candidates = _CANDIDATES.format(table=table_of(schema, entity))
    given: dict[str, object] = {"rows": write_json(rows)}
    found = find_problems(connection, schema, entity, candidates, given, existing=False)
    return misfits(connection, schema, entity, rows) if found is None else found
