-- The journal (DESIGN §5): every change of every record, once. Audit, undo, the changes feed and the outbox read it.

-- Nothing in this schema is readable by usage alone; an adopter's role needs it to call stowage.grant_tenant.
GRANT USAGE ON SCHEMA stowage TO PUBLIC;

CREATE TABLE stowage.changes (
    tenant text NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    operation text NOT NULL,
    entity text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    before jsonb,
    after jsonb,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant, seq)
);
COMMENT ON TABLE stowage.changes IS 'Append-only: what happened to each record, in the order of the commits.';
COMMENT ON COLUMN stowage.changes.before IS 'Columns as they were, by column name; null for a record just created.';
COMMENT ON COLUMN stowage.changes.after IS 'Columns as they became, by column name; null for a record gone for good.';

-- Undo reads an operation, a record's history reads a record, the list of operations reads only their own rows.
CREATE INDEX changes_operation ON stowage.changes (tenant, operation, seq);
CREATE INDEX changes_record ON stowage.changes (tenant, entity, id, seq);
CREATE INDEX changes_operations ON stowage.changes (tenant, seq) WHERE type = 'operation';

GRANT SELECT, INSERT ON stowage.changes TO stowage_app;
GRANT SELECT ON stowage.changes TO stowage_dump, stowage_purge;
GRANT UPDATE (before, after) ON stowage.changes TO stowage_purge;

-- The last seq of each tenant. Half of each page is left free, so that the one row which every write updates is
-- updated in place.
CREATE TABLE stowage.positions (
    tenant text PRIMARY KEY,
    seq bigint NOT NULL CHECK (seq >= 0)
) WITH (fillfactor = 50);

-- Takes `wanted` numbers for the tenant's next changes and answers the one before the first of them. The tenant's row
-- stays locked until the transaction ends, so numbers are in the order of the commits and a rollback leaves no gap:
-- hence take them in the transaction's last statement, after every other lock, or two writers deadlock. A bulk edit does
-- it in its one statement:
--
--     WITH changed AS (UPDATE … RETURNING …),
--          taken AS MATERIALIZED (SELECT stowage.take_seqs('acme', (SELECT count(*) FROM changed)) AS base)
--     INSERT INTO stowage.changes (tenant, seq, …)
--     SELECT 'acme', taken.base + row_number() OVER (ORDER BY changed.id), … FROM changed, taken
--
-- MATERIALIZED matters: it is what makes the call happen once, not once for each row. Security definer, so that the
-- application can neither skip numbers nor set them back.
CREATE FUNCTION stowage.take_seqs(tenant_id text, wanted bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    last bigint;
BEGIN
    IF wanted IS NULL OR wanted < 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the number of seqs to take must be 0 or more';
    END IF;
    INSERT INTO stowage.positions AS position (tenant, seq) VALUES (tenant_id, wanted)
    ON CONFLICT (tenant) DO UPDATE SET seq = position.seq + excluded.seq
    RETURNING position.seq INTO last;
    RETURN last - wanted;
END
$$;
REVOKE EXECUTE ON FUNCTION stowage.take_seqs FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stowage.take_seqs TO stowage_app;
GRANT SELECT ON stowage.positions TO stowage_app, stowage_dump, stowage_purge;
