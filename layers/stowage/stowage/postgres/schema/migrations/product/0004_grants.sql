-- What Stowage's roles get in a tenant's schema. The schema's owner runs it, once and again whenever it likes:
--
--     SELECT stowage.grant_tenant('tenant_acme');
--
-- It runs with the caller's own rights and gives nothing that the caller could not give. Tables that the schema's owner
-- makes later are covered; for those of another role, that role says ALTER DEFAULT PRIVILEGES itself.
CREATE FUNCTION stowage.grant_tenant(schema_name text) RETURNS void
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

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO stowage_app, stowage_dump', schema_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO stowage_app', schema_name);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO stowage_app', schema_name);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO stowage_dump', schema_name);
    EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO stowage_dump', schema_name);

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
END
$$;
