-- The trash: what it holds is kept count of, and what is past its time is purged by a role of its own.

-- How many entries a tenant's trash shows of an entity: kept by what moves records in and out, counted anew by the
-- purge, because a product's own SQL moves them too. Without a row nobody has counted yet.
CREATE TABLE stowage.trash_counts (
    tenant text NOT NULL,
    entity text NOT NULL,
    listed bigint NOT NULL,
    PRIMARY KEY (tenant, entity)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE ON stowage.trash_counts TO stowage_app;
GRANT SELECT, UPDATE ON stowage.trash_counts TO stowage_purge;
GRANT SELECT ON stowage.trash_counts TO stowage_dump;

-- The purge writes down what it did, as everybody does.
GRANT INSERT ON stowage.changes TO stowage_purge;
GRANT EXECUTE ON FUNCTION stowage.take_seqs TO stowage_purge;

-- As in 0004_grants, and the purge: it deletes records for good, and never changes one.
CREATE OR REPLACE FUNCTION stowage.grant_tenant(schema_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    schema_owner name;
BEGIN
    SELECT pg_get_userbyid(nspowner) INTO schema_owner FROM pg_namespace WHERE nspname = schema_name;
    IF NOT FOUND THEN
        RAISE invalid_schema_name USING MESSAGE = format('there is no schema %I', schema_name);
    END IF;
    IF NOT pg_has_role(schema_owner, 'USAGE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%I belongs to %I, and %I is not a member of it', schema_name, schema_owner, current_user);
    END IF;

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO stowage_app, stowage_dump, stowage_purge', schema_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO stowage_app', schema_name);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO stowage_app', schema_name);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO stowage_dump', schema_name);
    EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO stowage_dump', schema_name);
    EXECUTE format('GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA %I TO stowage_purge', schema_name);

    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I '
        'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO stowage_app',
        schema_owner, schema_name
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO stowage_app',
        schema_owner, schema_name
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT ON TABLES TO stowage_dump',
        schema_owner, schema_name
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT ON SEQUENCES TO stowage_dump',
        schema_owner, schema_name
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT, DELETE ON TABLES TO stowage_purge',
        schema_owner, schema_name
    );
END
$$;
