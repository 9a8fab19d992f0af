"""Big tenants for benchmarks: one whose dump is so many megabytes, one of so many posts."""

from collections.abc import Callable

import psycopg

from local.sample.rows import Sizes, fill
from local.sample.tenants import analyze, is_registered
from stowage.postgres.schema.migrations import create_tenant
from stowage.postgres.session.command_line import connect_as

_POST_BYTES = 1_121
"""A post with a caption of five passages, as a line of a plain dump (measured)."""

# Passages of words with numbers among them, which compress about as people's captions do: to a third.
_PASSAGES = """
CREATE TEMPORARY TABLE passages ON COMMIT DROP AS
SELECT n, string_agg(
    words[1 + (hashint8extended(n * 40 + k, 1) & 1073741823) % cardinality(words)]
        || CASE WHEN k % 4 = 0 THEN ' ' || (hashint8extended(n * 40 + k, 2) & 1073741823) ELSE '' END,
    ' ' ORDER BY k
) AS passage
FROM generate_series(0, 4095) AS n, generate_series(1, 22) AS k, LATERAL (
    SELECT regexp_split_to_array(
        'again amber always before below between bicycle bread bright brought city clear cloud coast coffee '
        'colour corner evening every fabric first flower forest found friend garden glass gold green harbour '
        'hidden house island kitchen later letter light linen listen little market maybe morning mountain '
        'music never night notes ocean often orange other paper people picture quiet rain river road season '
        'silver simple slow small someone song spring stone story street summer table thank their there these '
        'thing three today together tomorrow tonight travel until village water weather weekend where while '
        'white window winter without wonder wood world year yellow yesterday', ' '
    ) AS words
) AS vocabulary
GROUP BY n
"""

_POSTS = """
INSERT INTO posts (id, account_id, url, caption, likes, posted_at, created_at, updated_at)
SELECT 'pst_' || lpad(i::text, 8, '0'), 'acc_' || lpad((1 + i %% 1000)::text, 7, '0'), 'https://x.example/p/' || i,
       concat_ws(E'\n', a.passage, b.passage, c.passage, d.passage, e.passage),
       i %% 5000, at, at, at
FROM generate_series(1, %(count)s::bigint) AS i
JOIN passages AS a ON a.n = hashint8extended(i, 1) & 4095
JOIN passages AS b ON b.n = hashint8extended(i, 2) & 4095
JOIN passages AS c ON c.n = hashint8extended(i, 3) & 4095
JOIN passages AS d ON d.n = hashint8extended(i, 4) & 4095
JOIN passages AS e ON e.n = hashint8extended(i, 5) & 4095,
LATERAL (SELECT '2024-01-01 00:00:00+00'::timestamptz + i * interval '1 minute' AS at) AS moment
"""


def load_bench_tenant(database_url: str, slug: str, megabytes: float) -> None:
    """Make a tenant whose plain dump has about that many megabytes, most of it captions; none if it is there."""
    posts = round(megabytes * 1_000_000 / _POST_BYTES)

    def fill_captions(connection: psycopg.Connection) -> None:
        fill(connection, slug, Sizes(brands=1, groups=4, accounts=1_000))
        connection.execute(_PASSAGES)
        connection.execute(_POSTS, {"count": posts})

    _load(database_url, slug, fill_captions)


def load_bench_posts(database_url: str, slug: str, posts: int = 1_000_000) -> None:
    """Make a tenant of so many posts like those of the sample tenants, for exports; nothing if it is there."""
    sizes = Sizes(brands=5, groups=20, accounts=20_000, posts=posts)
    _load(database_url, slug, lambda connection: fill(connection, slug, sizes))


def _load(database_url: str, slug: str, fill_tables: Callable[[psycopg.Connection], None]) -> None:
    with connect_as(database_url) as connection:
        if is_registered(connection, slug):
            return
        create_tenant(connection, slug, slug, f"Benchmark {slug}", fill=lambda: fill_tables(connection))
        analyze(connection, slug)
