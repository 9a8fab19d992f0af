-- As in 0017_purge_updates, and a schema's tables may belong to several roles: those that the caller may not grant are
-- named, or left out on request. read_only grants no more than backups need. What was left out is given back.
DROP FUNCTION stowage.grant_tenant(text);

CREATE FUNCTION stowage.grant_tenant(
    schema_name text, read_only boolean DEFAULT false, skip_others boolean DEFAULT false
) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    schema_owner name;
    relation record;
    others text[] := '{}';
BEGIN
    SELECT pg_get_userbyid(nspowner) INTO schema_owner FROM pg_namespace WHERE nspname = schema_name;
    IF NOT FOUND THEN
        RAISE invalid_schema_name USING MESSAGE = format('there is no schema %I', schema_name);
    END IF;
    IF NOT pg_has_role(schema_owner, 'USAGE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%I belongs to %I, and %I is not a member of it', schema_name, schema_owner, current_user);
    END IF;

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO stowage_dump', schema_name);
    IF NOT read_only THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO stowage_app, stowage_purge', schema_name);
    END IF;

    FOR relation IN
        SELECT format('%I.%I', schema_name, relname) AS name, relkind = 'S' AS is_sequence,
               pg_has_role(relowner, 'USAGE') AS is_ours, pg_get_userbyid(relowner) AS owner,
               CASE WHEN relkind = 'S' THEN
                   has_sequence_privilege('stowage_dump', oid, 'SELECT')
                   AND (read_only OR has_sequence_privilege('stowage_app', oid, 'USAGE')
                                     AND has_sequence_privilege('stowage_app', oid, 'SELECT'))
               ELSE
                   has_table_privilege('stowage_dump', oid, 'SELECT')
                   AND (read_only OR (
                       SELECT bool_and(has_table_privilege(role, pg_class.oid, privilege))
                       FROM (VALUES ('stowage_app', 'SELECT'), ('stowage_app', 'INSERT'), ('stowage_app', 'UPDATE'),
                                    ('stowage_app', 'DELETE'), ('stowage_purge', 'SELECT'),
                                    ('stowage_purge', 'UPDATE'), ('stowage_purge', 'DELETE')) AS needed (role, privilege)
                   ))
               END AS is_granted
        FROM pg_class
        WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = schema_name)
          AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        ORDER BY relname
    LOOP
        CONTINUE WHEN relation.is_granted;
        IF NOT relation.is_ours THEN
            others := others || format('%s (of %I)', relation.name, relation.owner);
        ELSIF relation.is_sequence THEN
            EXECUTE format('GRANT SELECT ON SEQUENCE %s TO stowage_dump', relation.name);
            IF NOT read_only THEN
                EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO stowage_app', relation.name);
            END IF;
        ELSE
            EXECUTE format('GRANT SELECT ON %s TO stowage_dump', relation.name);
            IF NOT read_only THEN
                EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO stowage_app', relation.name);
                EXECUTE format('GRANT SELECT, UPDATE, DELETE ON %s TO stowage_purge', relation.name);
            END IF;
        END IF;
    END LOOP;
    IF others <> '{}' AND NOT skip_others THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s belong to others, and %I is not a member of these roles',
                             array_to_string(others, ', '), current_user),
            HINT = 'A role that is a member of all these owners may grant everything; skip_others grants the rest.';
    END IF;

    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT ON TABLES TO stowage_dump',
        schema_owner, schema_name
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT ON SEQUENCES TO stowage_dump',
        schema_owner, schema_name
    );
    IF NOT read_only THEN
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
            'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT, UPDATE, DELETE ON TABLES TO stowage_purge',
            schema_owner, schema_name
        );
    END IF;
    RETURN others;
END
$$;
