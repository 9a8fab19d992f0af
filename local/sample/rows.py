"""Rows of the entities, made by Postgres itself: one INSERT … SELECT each, from hashes of the row's number.

A tenant's rows depend on nothing but its sizes and its mark, so making it again gives the same rows.
"""

from dataclasses import asdict, dataclass

import psycopg

from local.sample import vocabulary


@dataclass(frozen=True)
class Sizes:
    """How many rows of each entity a tenant has, those in its trash included."""

    brands: int = 0
    groups: int = 0
    accounts: int = 0
    posts: int = 0
    tasks: int = 0
    users: int = 0

    def scaled(self, scale: float) -> "Sizes":
        """The sizes `scale` times over; at least one of what there is any of."""
        return Sizes(**{name: max(1, round(size * scale)) if size else 0 for name, size in asdict(self).items()})


# A word chosen by a row's number; `salt` makes the choices of one row independent of each other.
_PICK = """
CREATE OR REPLACE FUNCTION pg_temp.pick(words text[], i bigint, salt int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT words[1 + (hashint8extended(i, salt) & 1073741823) % cardinality(words)] $$;

CREATE OR REPLACE FUNCTION pg_temp.number(i bigint, salt int, below bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashint8extended(i, salt) & 1073741823) % below $$;

CREATE OR REPLACE FUNCTION pg_temp.moment(i bigint, salt int) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT '2024-01-01 00:00:00+00'::timestamptz
        + (hashint8extended(i, salt) & 1099511627775) % 63072000000 * interval '1 millisecond' $$;
"""

_BRANDS = """
INSERT INTO brands (id, label, created_at, updated_at)
SELECT 'brd_' || lpad(i::text, 4, '0'),
       %(mark)s || (%(brands)s::text[])[1 + (i - 1) %% cardinality(%(brands)s::text[])]
           || CASE WHEN i > cardinality(%(brands)s::text[]) THEN ' ' || i ELSE '' END,
       at, at
FROM generate_series(1, %(count)s::int) AS i, LATERAL pg_temp.moment(i, 1) AS at
"""

_GROUPS = """
INSERT INTO groups (id, brand_id, label, created_at, updated_at)
SELECT 'grp_' || lpad(i::text, 4, '0'),
       'brd_' || lpad((1 + (i - 1) %% %(brand_count)s::int)::text, 4, '0'),
       %(mark)s || (%(groups)s::text[])[1 + (i - 1) / %(brand_count)s::int %% cardinality(%(groups)s::text[])]
           || CASE WHEN i > %(brand_count)s::int * cardinality(%(groups)s::text[]) THEN ' ' || i ELSE '' END,
       at, at + pg_temp.number(i, 3, 400) * interval '1 hour'
FROM generate_series(1, %(count)s::int) AS i, LATERAL pg_temp.moment(i, 2) AS at
"""

_USERS = """
INSERT INTO users (id, name, email, created_at, updated_at)
SELECT 'usr_' || lpad(i::text, 4, '0'),
       first || ' ' || last,
       lower(translate(first || '.' || last, ' ''éëöüıçíã', '__eeouicia')) || i || '@' || %(slug)s || '.example',
       at, at
FROM generate_series(1, %(count)s::int) AS i,
     LATERAL pg_temp.pick(%(first_names)s, i, 4) AS first,
     LATERAL pg_temp.pick(%(last_names)s, i, 5) AS last,
     LATERAL pg_temp.moment(i, 6) AS at
"""

# A tenth have no group, a twentieth no display name; followers are few for most and many for some.
_ACCOUNTS = """
INSERT INTO accounts
    (id, username, display_name, platform, brand_id, group_id, followers, status, created_at, updated_at)
SELECT 'acc_' || lpad(i::text, 7, '0'),
       replace(%(mark)s, ' ', '.') || lower(translate(first, 'éëöí', 'eeoi'))
           || '.' || pg_temp.pick(%(handles)s, i, 11) || i,
       CASE WHEN pg_temp.number(i, 12, 20) > 0 THEN first || ' ' || pg_temp.pick(%(last_names)s, i, 13) END,
       pg_temp.pick(%(platforms)s, i, 14),
       'brd_' || lpad((1 + (g - 1) %% %(brand_count)s::int)::text, 4, '0'),
       CASE WHEN pg_temp.number(i, 15, 10) > 0 THEN 'grp_' || lpad(g::text, 4, '0') END,
       (power(pg_temp.number(i, 16, 1000) / 1000.0::float8, 9) * 400000)::bigint,
       pg_temp.pick('{active,active,active,active,paused,suspended}', i, 17),
       at, at + pg_temp.number(i, 19, 5000) * interval '1 minute'
FROM generate_series(1, %(count)s::int) AS i,
     LATERAL (SELECT 1 + pg_temp.number(i, 20, %(group_count)s) AS g) AS of_group,
     LATERAL pg_temp.pick(%(first_names)s, i, 10) AS first,
     LATERAL pg_temp.moment(i, 18) AS at
"""

# The id of one post in fifty is its URL, as it is for products that take posts from elsewhere.
_POSTS = """
INSERT INTO posts (id, account_id, url, caption, likes, posted_at, created_at, updated_at)
SELECT CASE WHEN i %% 50 = 0 THEN url ELSE 'pst_' || lpad(i::text, 8, '0') END,
       'acc_' || lpad(account::text, 7, '0'),
       url,
       CASE WHEN pg_temp.number(i, 31, 25) > 0 THEN
           %(mark)s || pg_temp.pick(%(openings)s, i, 32) || ' ' || pg_temp.pick(%(subjects)s, i, 33) || '. '
               || pg_temp.pick(%(endings)s, i, 34) || ' #' || pg_temp.pick(%(hashtags)s, i, 35)
               || ' #' || pg_temp.pick(%(hashtags)s, i, 36)
       END,
       (power(pg_temp.number(i, 37, 1000) / 1000.0::float8, 6) * 90000)::bigint,
       at, at + interval '90 seconds', at + pg_temp.number(i, 39, 9000) * interval '1 minute'
FROM generate_series(1, %(count)s::int) AS i,
     LATERAL (SELECT 1 + pg_temp.number(i, 30, %(account_count)s) AS account) AS of_account,
     LATERAL (SELECT 'https://' || pg_temp.pick(%(platforms)s, account, 14) || '.example/p/'
                  || to_hex(i * 2654435761) || CASE WHEN i %% 7 = 0 THEN '?igsh=' || i || '&hl=en' ELSE '' END AS url
             ) AS of_url,
     LATERAL pg_temp.moment(i, 38) AS at
"""

_TASKS = """
INSERT INTO tasks (id, title, description, status, priority, assignee, created_at, updated_at)
SELECT 'tsk_' || lpad(i::text, 5, '0'),
       %(mark)s || pg_temp.pick(%(task_verbs)s, i, 40) || ' ' || pg_temp.pick(%(task_objects)s, i, 41),
       CASE WHEN pg_temp.number(i, 42, 3) > 0 THEN
           'For ' || pg_temp.pick(%(brands)s, i, 43) || E'.\nAsk ' || pg_temp.pick(%(first_names)s, i, 44) || ' first.'
       END,
       pg_temp.pick('{todo,in_progress,completed}', i, 45),
       pg_temp.pick('{low,medium,medium,high,urgent}', i, 46),
       CASE WHEN pg_temp.number(i, 47, 5) > 0 AND %(user_count)s::int > 0
            THEN 'usr_' || lpad((1 + pg_temp.number(i, 48, greatest(1, %(user_count)s)))::text, 4, '0') END,
       at, at + pg_temp.number(i, 50, 900) * interval '1 hour'
FROM generate_series(1, %(count)s::int) AS i, LATERAL pg_temp.moment(i, 49) AS at
"""


def fill(connection: psycopg.Connection, slug: str, sizes: Sizes, mark: str = "") -> None:
    """Fill the empty tables of the schema that the search path names.

    `mark` stands before the texts of each row, to tell whose it is.
    """
    words = {name.lower(): list(value) for name, value in vars(vocabulary).items() if name.isupper()}
    numbers = {"brand_count": sizes.brands, "group_count": sizes.groups, "account_count": sizes.accounts}
    given = words | numbers | {"user_count": sizes.users, "slug": slug, "mark": mark}
    connection.execute(_PICK)
    for statement, count in (
        (_BRANDS, sizes.brands),
        (_GROUPS, sizes.groups),
        (_USERS, sizes.users),
        (_ACCOUNTS, sizes.accounts),
        (_POSTS, sizes.posts),
        (_TASKS, sizes.tasks),
    ):
        if count:
            connection.execute(statement, given | {"count": count})
