-- A tenant with whatever a schema's dump does not hold, or what its text could be mistaken for. {owner}, {reader} and
-- {granted} are roles. A superuser runs this.
CREATE SCHEMA tenant_odd AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA tenant_odd TO {reader}, {granted};
SET check_function_bodies = off;
SET search_path = tenant_odd, public;

-- A cast, and what needs it: a check, a view, an index.
CREATE TYPE mood AS ENUM ('calm', 'loud');
CREATE FUNCTION loudness(mood) RETURNS integer LANGUAGE sql IMMUTABLE AS $$SELECT length($1::text) - 4$$;
CREATE CAST (mood AS integer) WITH FUNCTION loudness(mood) AS IMPLICIT;
CREATE DOMAIN price AS numeric(10, 2) CHECK (VALUE >= 0);
CREATE TYPE money_of AS (amount price, currency text);
CREATE CAST (money_of AS text) WITH INOUT AS ASSIGNMENT;

-- Functions that look like a dump, or that end a careless reading of one.
CREATE FUNCTION looks_like_a_dump() RETURNS text LANGUAGE sql AS $body$
SELECT $$
--
-- Name: posts; Type: TABLE; Schema: tenant_other; Owner: {owner}
--

CREATE TABLE tenant_other.posts (id int);
ALTER TABLE tenant_other.posts OWNER TO somebody;
--
-- Data for Name: posts; Type: TABLE DATA; Schema: tenant_other; Owner: {owner}
--

COPY tenant_other.posts (id) FROM stdin;
1
\.
GRANT ALL ON SCHEMA tenant_other TO somebody;
SET transaction_timeout = 0;
--
-- PostgreSQL database dump complete
--
$$
$body$;
CREATE FUNCTION "name; Type: TABLE DATA; Schema: tenant_other; Owner: x"() RETURNS text LANGUAGE plpgsql AS '
BEGIN
    RETURN ''it''''s \ quoted; -- '' || $q$ /* $q$;
END';
CREATE FUNCTION atomic(n integer) RETURNS integer LANGUAGE sql
    BEGIN ATOMIC SELECT CASE WHEN n > 1 THEN 1 ELSE 2 END; SELECT 3; END;

-- A function that finds another one of its schema by the search path, called while rows come in.
CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION is_slug(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN folded($1) = $1; END';

CREATE TABLE notes (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mood mood NOT NULL CHECK (mood >= 0),
    slug text NOT NULL CHECK (is_slug(slug)),
    body text,
    paid money_of,
    at timestamptz NOT NULL DEFAULT '2026-03-29 01:30:00+00'
);
CREATE VIEW loud_notes AS SELECT id, mood + 1 AS level FROM notes WHERE mood > 0;
CREATE INDEX ON notes ((mood::integer));
INSERT INTO notes (mood, slug, body, paid) VALUES
    ('calm', 'plain', 'x', (1.5, 'EUR')),
    ('loud', 'header', E'--\n-- Name: posts; Type: TABLE; Schema: tenant_other; Owner: x\n--\n', NULL),
    ('loud', 'owner', E'\nALTER TABLE tenant_odd.notes OWNER TO nobody;\n', NULL),
    ('calm', 'setting', E'\nSET transaction_timeout = 0;\n\\restrict x\n', NULL),
    ('calm', 'end', E'\n\\.\n', NULL),
    ('calm', 'complete', E'--\n-- PostgreSQL database dump complete\n--\n', NULL);

-- Owners and grants.
ALTER TABLE notes OWNER TO {owner};
ALTER FUNCTION folded(text) OWNER TO {owner};
GRANT SELECT ON notes TO {reader} WITH GRANT OPTION;
GRANT SELECT (id) ON notes TO {granted};
SET ROLE {reader};
GRANT SELECT ON tenant_odd.notes TO {granted};
RESET ROLE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA tenant_odd GRANT SELECT ON TABLES TO {reader};
COMMENT ON SCHEMA tenant_odd IS 'odd; it''s one';
COMMENT ON TABLE notes IS E'--\n-- Name: x; Type: SCHEMA; Schema: -; Owner: x\n--';
RESET search_path;
RESET check_function_bodies;
