-- The trash that an earlier version kept in each row moves beside it; and what the trash does not list by itself is found
-- in the order in which it is listed.
--
-- The index of the purge begins with an expression, so that nobody but the purge uses it: one that begins with tenant and
-- entity would be taken for an entry's key as well while the planner believes the table to be small, and read for each.
DROP INDEX stowage.trash_entries_purge_at;
CREATE INDEX trash_entries_due ON stowage.trash_entries ((tenant || '/' || entity), purge_at);
CREATE INDEX trash_entries_hidden ON stowage.trash_entries (tenant, entity, mark, id) WHERE deleted_with IS NOT NULL;

-- Moves the columns deleted_by, purge_at, deleted_operation and deleted_with of a table into stowage.trash_entries, and
-- drops them with their constraint and indexes; deleted_at stays, and gets an index. Gives the number of entries. Run it
-- as the table's owner who may act as stowage_owner. Views that name these columns stand in its way.
CREATE FUNCTION stowage.move_trash(schema_name text, table_name text, entity_name text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    tenant_id text;
    is_filled boolean;
    moved bigint := 0;
BEGIN
    SELECT id INTO tenant_id FROM control_plane.projects WHERE coalesce(schema, 'tenant_' || slug) = schema_name;
    EXECUTE format('LOCK TABLE %I.%I IN ACCESS EXCLUSIVE MODE', schema_name, table_name);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE deleted_at IS NOT NULL)', schema_name, table_name)
    INTO is_filled;
    IF is_filled AND tenant_id IS NULL THEN
        RAISE invalid_schema_name USING
            MESSAGE = format('no tenant is registered with the schema %I, so nobody has what lies in its trash', schema_name);
    END IF;
    IF is_filled THEN
        EXECUTE format(
            'INSERT INTO stowage.trash_entries '
            '(tenant, entity, id, mark, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with) '
            'SELECT $1, $2, id::text, deleted_at, deleted_at, deleted_by, purge_at, deleted_operation, deleted_with '
            'FROM %I.%I WHERE deleted_at IS NOT NULL',
            schema_name, table_name
        ) USING tenant_id, entity_name;
        GET DIAGNOSTICS moved = ROW_COUNT;
    END IF;
    EXECUTE format(
        'ALTER TABLE %I.%I DROP COLUMN deleted_by, DROP COLUMN purge_at, DROP COLUMN deleted_operation, '
        'DROP COLUMN deleted_with',
        schema_name, table_name
    );
    EXECUTE format(
        'CREATE INDEX ON %I.%I (deleted_at, id) WHERE deleted_at IS NOT NULL', schema_name, table_name
    );
    RETURN moved;
END
$$;
