-- The roles that Stowage works with, and what each may hold on to.
--
-- Run it once per database, and again after an upgrade: as the server's master (CREATEROLE and the database's owner are
-- enough; nothing here needs a superuser, because RDS's master is none):
--
--     python -m stowage.postgres roles --url postgresql://master@host/database
--
-- It sets no password. On RDS the roles log in by IAM: a new one becomes a member of rds_iam. RDS refuses the passwords
-- of its members, so to use passwords say REVOKE rds_iam FROM stowage_app and ALTER ROLE stowage_app PASSWORD '...' of
-- each; running this again leaves both as they are.
--
--   stowage_owner    owns the schemas control_plane and stowage, runs their migrations
--   stowage_app      request handlers, exports, bulk edits: DML in tenants' schemas; reads and appends to the journal
--   stowage_dump     reads tenants' schemas and the journal: pg_dump
--   stowage_restore  creates schemas and fills them. `python -m stowage.postgres grant SCHEMA --restore` makes it a member
--                    of the owners of a tenant's objects. A role that is a member of whoever runs this file cannot be
--                    administered by that one (Postgres refuses circles): it is left as it is then.
--   stowage_purge    deletes records for good and empties what names them, blanks the images that the journal keeps of them, and lets it forget what
--                    is past its retention

DO $roles$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY
        ARRAY['stowage_owner', 'stowage_app', 'stowage_dump', 'stowage_restore', 'stowage_purge']
    LOOP
        BEGIN
            IF to_regrole(role_name) IS NULL THEN
                EXECUTE format('CREATE ROLE %I', role_name);
                IF to_regrole('rds_iam') IS NOT NULL THEN
                    EXECUTE format('GRANT rds_iam TO %I', role_name);
                END IF;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- another run has just made it
        END;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
        CONTINUE WHEN role_name = 'stowage_restore' AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            AND current_setting('server_version_num')::int >= 160000
            AND pg_has_role(role_name, current_user, 'MEMBER');
        IF NOT pg_has_role(current_user, role_name, 'MEMBER WITH ADMIN OPTION')
            AND NOT (SELECT rolcreaterole AND current_setting('server_version_num')::int < 160000
                     FROM pg_roles WHERE rolname = current_user)
        THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('%s exists, and %s may not administer it', role_name, current_user),
                HINT = format('Run this as the role that created it, or let that one GRANT %I TO %I WITH ADMIN OPTION.',
                              role_name, current_user);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN', role_name);
        -- Every session of ours says so too; poolers that share connections between transactions forget it. Where
        -- row-level security would hide rows, a statement fails instead of giving fewer.
        EXECUTE format('ALTER ROLE %I SET row_security = off', role_name);
        EXECUTE format('ALTER ROLE %I SET jit = off', role_name);
        EXECUTE format('ALTER ROLE %I SET client_encoding = %L', role_name, 'UTF8');
        EXECUTE format('ALTER ROLE %I SET TimeZone = %L', role_name, 'UTC');
        EXECUTE format('ALTER ROLE %I SET DateStyle = %L', role_name, 'ISO');
        EXECUTE format('ALTER ROLE %I SET IntervalStyle = %L', role_name, 'postgres');
        EXECUTE format('ALTER ROLE %I SET standard_conforming_strings = on', role_name);
        IF role_name = 'stowage_restore' THEN
            -- A restore is idle while the artifact's next bytes are on their way.
            ALTER ROLE stowage_restore SET statement_timeout = 0;
            ALTER ROLE stowage_restore SET lock_timeout = '30s';
            ALTER ROLE stowage_restore SET idle_in_transaction_session_timeout = '10min';
            ALTER ROLE stowage_restore SET idle_session_timeout = '10min';
        END IF;
    END LOOP;

    EXECUTE format('GRANT CREATE ON DATABASE %I TO stowage_owner, stowage_restore', current_database());

    -- The master acts as stowage_owner for migrations by SET ROLE, and sees what that role owns. Before Postgres 16 a
    -- membership has no such options.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        IF current_setting('server_version_num')::int >= 160000 THEN
            EXECUTE format('GRANT stowage_owner TO %I WITH INHERIT TRUE, SET TRUE', current_user);
        ELSE
            EXECUTE format('GRANT stowage_owner TO %I', current_user);
        END IF;
    END IF;
END
$roles$;

-- A frozen Lambda function cannot give back what it holds; these limits do. They are defaults of a session: a statement
-- that has to take longer says so with SET LOCAL.

-- Requests end at the gateway's 30 s. An export's COPY takes as long as its rows: it runs with SET LOCAL
-- statement_timeout = 0, or as stowage_dump.
ALTER ROLE stowage_app SET statement_timeout = '28s';
ALTER ROLE stowage_app SET lock_timeout = '5s';
ALTER ROLE stowage_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE stowage_app SET idle_session_timeout = '60s';

-- A dump takes as long as its tenant: only locks, and a worker that died without closing its connection, are bounded. A
-- COPY that waits for its reader is not idle.
ALTER ROLE stowage_dump SET statement_timeout = 0;
ALTER ROLE stowage_dump SET lock_timeout = '30s';
ALTER ROLE stowage_dump SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE stowage_dump SET idle_session_timeout = '60s';
ALTER ROLE stowage_dump SET default_transaction_read_only = on;

-- Building an index has no limit; waiting in front of everyone else's queries for a table's lock has.
ALTER ROLE stowage_owner SET statement_timeout = 0;
ALTER ROLE stowage_owner SET lock_timeout = '10s';
ALTER ROLE stowage_owner SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE stowage_owner SET idle_session_timeout = '60s';

ALTER ROLE stowage_purge SET statement_timeout = '60s';
ALTER ROLE stowage_purge SET lock_timeout = '5s';
ALTER ROLE stowage_purge SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE stowage_purge SET idle_session_timeout = '60s';
