"""How much the trash shows: kept, so that neither a total nor a far page costs what it does not show.

`stowage.trash_counts` has an entity's total, `stowage.trash_spans` how many of these were deleted from a span's start
until the next one's: what a far page need not read. A tenant's entities share the starts of their spans.

The newest span is counted from its rows whenever somebody asks: so a deletion changes no span, and those of a product's
own SQL count at once. What leaves the trash is taken off its span. Until the next recount nobody notices what a
product's own SQL takes out of an older span, or puts into one by a moment of the past: until then far pages may show
some records twice, or pass over some.
"""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.postgres.tables.relations import id_of, key_type, rows_of
from stowage.postgres.tables.trashed import counts, deleted_order, in_trash, is_listed, mark
from stowage.tenants import Tenant

COUNTED_UP_TO = 1_000
"""So many entries are counted; how many more there are is kept."""
READ_UP_TO = 10_000
"""So many entries before a page are read; where there are more, spans are left out."""
SPAN = 5_000

_COUNT = sql.SQL("""
SELECT {entity}::text,
       (SELECT count(*) FROM (SELECT FROM {table} AS record WHERE {listed} LIMIT %(most)s + 1) AS few),
       (SELECT listed FROM stowage.trash_counts WHERE tenant = %(tenant)s AND entity = {entity})
""")


def count_trash(connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity]) -> int | None:
    """How many entries the trash shows of these entities, at a cost that does not grow with them.

    None: nobody has counted them yet (`recount_trash`).
    """
    statement = sql.SQL(" UNION ALL ").join(
        _COUNT.format(
            entity=sql.Literal(declared.name),
            table=rows_of(tenant.schema, declared),
            listed=is_listed(declared, "record"),
        )
        for declared in shown
    )
    total = 0
    for _, counted, kept in connection.execute(statement, {"tenant": tenant.id, "most": COUNTED_UP_TO}):
        if counted > COUNTED_UP_TO and kept is None:
            return None
        # What is kept can be wrong only for as long as a product's own SQL goes unnoticed; below this bound never.
        total += counted if counted <= COUNTED_UP_TO else max(kept, counted)
    return total


# Spans of which one entity was not counted say nothing of the entities together.
_SKIP = sql.SQL("""
WITH spans AS MATERIALIZED (
    SELECT since, sum(listed) AS listed FROM stowage.trash_spans
    WHERE tenant = %(tenant)s AND entity = ANY(%(entities)s) GROUP BY since
),
newest AS MATERIALIZED (
    SELECT start.since, {listed} AS listed FROM (SELECT max(since) AS since FROM spans) AS start
    WHERE cardinality(%(entities)s) = (
        SELECT count(DISTINCT entity) FROM stowage.trash_spans
        WHERE tenant = %(tenant)s AND entity = ANY(%(entities)s) AND since = '-infinity'
    )
)
SELECT since::text, skipped::bigint FROM (
    SELECT spans.since, newest.listed + coalesce(
        sum(spans.listed) FILTER (WHERE spans.since < newest.since) OVER (ORDER BY spans.since DESC), 0
    ) AS skipped
    FROM spans, newest
) AS starts
WHERE starts.since > '-infinity' AND skipped <= %(offset)s ORDER BY starts.since LIMIT 1
""")
_NEWEST = sql.SQL("(SELECT count(*) FROM {table} AS record WHERE {listed})")
_NEWEST_ENTERED = sql.SQL("""
(SELECT count(*) FROM {entered} WHERE kept.deleted_at >= start.since)
""")
_SINCE = sql.SQL("{} >= start.since")


def skip(
    connection: psycopg.Connection, tenant: Tenant, shown: Sequence[Entity], offset: int
) -> tuple[str | None, int]:
    """From which moment on entries need not be read to come to a page (None: all need), and how many these are."""
    if offset <= READ_UP_TO:
        return None, 0
    newest = [
        _NEWEST_ENTERED.format(entered=entered(tenant.schema, declared))
        if declared.trash.is_flag
        else _NEWEST.format(table=rows_of(tenant.schema, declared), listed=is_listed(declared, "record", within=_SINCE))
        for declared in shown
    ]
    statement = _SKIP.format(listed=sql.SQL(" + ").join(newest))
    given = {"tenant": tenant.id, "entities": [declared.name for declared in shown], "offset": offset}
    return connection.execute(statement, given).fetchone() or (None, 0)


_ENTERED = sql.SQL("""
stowage.trash_entries AS kept JOIN {table} AS record
  ON kept.tenant = %(tenant)s AND kept.entity = {entity} AND kept.of_flag AND kept.deleted_with IS NULL
 AND record.{id} = kept.id::{key} AND {counts}
""")


def entered(schema: str, declared: Entity) -> sql.Composed:
    """What the trash shows of an entity with a flag and knows the moment of: each `record` with its entry, `kept`."""
    return _ENTERED.format(
        table=rows_of(schema, declared),
        entity=sql.Literal(declared.name),
        id=id_of(declared),
        key=key_type(declared),
        counts=counts(declared, "record", "kept"),
    )


_HOLD: LiteralString = "SELECT stowage.take_seqs(%s, 0)"

# A deletion that is under way is newer than this, by whatever clock: so it falls into the newest span.
_STARTS = sql.SQL("""
SELECT moment::text FROM ({moments}) AS numbered
WHERE n %% {span} = 0 AND moment > '-infinity' AND moment < now() - interval '10 minutes'
""")
_MOMENTS = sql.SQL("""
SELECT {moment} AS moment, row_number() OVER (ORDER BY {order} DESC) AS n FROM {table} AS record WHERE {in_trash}
""")
_MOMENTS_ENTERED = sql.SQL("""
SELECT deleted_at AS moment, row_number() OVER (ORDER BY deleted_at DESC) AS n FROM stowage.trash_entries
WHERE tenant = %(tenant)s AND entity = {entity} AND of_flag AND deleted_with IS NULL
""")

_MEND_FLAGS: LiteralString = """
UPDATE stowage.trash_entries SET of_flag = true
WHERE tenant = %(tenant)s AND entity = ANY(%(entities)s) AND NOT of_flag AND deleted_with IS NULL
"""
_FORGET: LiteralString = "DELETE FROM stowage.trash_spans WHERE tenant = %s"
_RECOUNT = sql.SQL("""
WITH given AS MATERIALIZED (
    SELECT array_agg(DISTINCT start ORDER BY start) AS starts FROM unnest(%(starts)s::timestamptz[]) AS start
),
found AS MATERIALIZED (
    SELECT starts[width_bucket(moment, starts)] AS since, count(*) AS listed
    FROM (SELECT {order}::timestamptz AS moment FROM {table} AS record WHERE {listed}) AS moments, given
    GROUP BY since
),
spans AS (
    INSERT INTO stowage.trash_spans (tenant, entity, since, listed)
    SELECT %(tenant)s, {entity}, since, sum(listed)
    FROM (TABLE found UNION ALL SELECT unnest(starts), 0 FROM given) AS spans GROUP BY since
)
INSERT INTO stowage.trash_counts (tenant, entity, listed)
SELECT %(tenant)s, {entity}, coalesce(sum(listed), 0) FROM found
ON CONFLICT (tenant, entity) DO UPDATE SET listed = excluded.listed
""")


def recount_trash(connection: psycopg.Connection, tenant: Tenant, entities: Sequence[Entity]) -> None:
    """Count a tenant's trash from its rows, in a transaction; `entities` are all that have one. Entries of flags that a
    version before wrote say so from now on.

    Nobody of ours changes the trash meanwhile. (A restore that waits for this takes nothing off the spans.)
    """
    # Every change takes numbers last and commits; so who holds the numbers sees all of them.
    connection.execute(_HOLD, (tenant.id,))
    flags = [declared.name for declared in entities if declared.trash.is_flag]
    if flags:
        connection.execute(_MEND_FLAGS, {"tenant": tenant.id, "entities": flags})
    starts = ["-infinity"]
    for declared in entities:
        moments = (_MOMENTS_ENTERED if declared.trash.is_flag else _MOMENTS).format(
            entity=sql.Literal(declared.name),
            moment=mark(declared, "record"),
            order=deleted_order(declared, "record"),
            table=rows_of(tenant.schema, declared),
            in_trash=in_trash(declared, "record"),
        )
        statement = _STARTS.format(moments=moments, span=sql.Literal(SPAN))
        starts += [start for (start,) in connection.execute(statement, {"tenant": tenant.id})]
    connection.execute(_FORGET, (tenant.id,))
    for declared in entities:
        recount = _RECOUNT.format(
            entity=sql.Literal(declared.name),
            order=deleted_order(declared, "record"),
            table=rows_of(tenant.schema, declared),
            listed=is_listed(declared, "record"),
        )
        connection.execute(recount, {"tenant": tenant.id, "starts": starts})


_UNCOUNT = sql.SQL("""
stw_unlisted AS MATERIALIZED (
    SELECT entity, moment, count(*) AS n FROM {rows} WHERE was_listed GROUP BY entity, moment
),
stw_counted AS (
    UPDATE stowage.trash_counts AS kept SET listed = greatest(0, listed - gone.n)
    FROM (SELECT entity, sum(n) AS n FROM stw_unlisted GROUP BY entity) AS gone, {base} AS taken
    WHERE kept.tenant = %(tenant)s AND kept.entity = gone.entity AND taken.base >= 0
),
stw_spanned AS (
    UPDATE stowage.trash_spans AS kept SET listed = greatest(0, listed - gone.n)
    FROM (
        SELECT entity, since, sum(n) AS n
        FROM stw_unlisted AS unlisted, LATERAL (
            SELECT since FROM stowage.trash_spans
            WHERE tenant = %(tenant)s AND entity = unlisted.entity AND since <= unlisted.moment
            ORDER BY since DESC LIMIT 1
        ) AS span
        GROUP BY entity, since
    ) AS gone, {base} AS taken
    WHERE kept.tenant = %(tenant)s AND kept.entity = gone.entity AND kept.since = gone.since AND taken.base >= 0
)
""")


def uncount(rows: str, base: str) -> sql.Composed:
    """CTEs that take off what is kept here the rows of the CTE `rows` that the trash does not show any more.

    Each has `entity`, `moment` (of `deleted_order`) and `was_listed`; the CTE `base` has the numbers taken.
    """
    return _UNCOUNT.format(rows=sql.Identifier(rows), base=sql.Identifier(base))
