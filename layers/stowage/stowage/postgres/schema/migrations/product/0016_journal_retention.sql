-- The journal's retention: what is old enough goes, oldest first, by the role of the purge and through this function
-- alone. Nobody of ours may DELETE from stowage.changes.

-- Finds an operation's summary without reading its other entries, of which a file import may have millions.
CREATE INDEX changes_summaries ON stowage.changes (tenant, operation) WHERE type = 'operation';

-- Deletes a tenant's oldest entries that are older than asked for, `most` at once and the summaries of operations that
-- this cuts into; how many. Whoever calls it, and with whatever time, nothing younger than 30 days goes. It stops
-- before the first entry that stays, and before the first one of an operation whose last one stays, so what is left
-- begins with whole operations.
--
-- A large operation takes several calls. Its summary goes in the first of them, so that it can be undone as a whole or
-- not at all; undo shares the lock that is taken here (stowage.postgres.operations), so it never sees half of one.
CREATE FUNCTION stowage.forget_changes(tenant_id text, older_than timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    cutoff timestamptz := least(older_than, now() - interval '30 days');
    last_gone bigint;
    forgotten bigint;
BEGIN
    IF older_than IS NULL OR most IS NULL OR most < 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a time, and a number of entries of 1 or more are needed';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(E'\x1f', 'forget', tenant_id), 0));

    -- Most days the first entry stays, and that is all there is to look at.
    IF NOT EXISTS (
        SELECT FROM (SELECT at FROM stowage.changes WHERE tenant = tenant_id ORDER BY seq LIMIT 1) AS first
        WHERE at < cutoff
    ) THEN
        RETURN 0;
    END IF;

    WITH next AS MATERIALIZED (
        SELECT seq, operation, at FROM stowage.changes WHERE tenant = tenant_id ORDER BY seq LIMIT most
    ),
    staying AS MATERIALIZED (
        SELECT operation FROM (SELECT DISTINCT operation FROM next) AS met
        WHERE (
            SELECT change.at FROM stowage.changes AS change
            WHERE change.tenant = tenant_id AND change.operation = met.operation ORDER BY change.seq DESC LIMIT 1
        ) >= cutoff
    )
    SELECT max(seq) INTO last_gone FROM (
        SELECT seq, bool_and(at < cutoff AND operation NOT IN (SELECT operation FROM staying)) OVER (ORDER BY seq)
            AS is_old
        FROM next
    ) AS judged
    WHERE is_old;

    WITH gone AS (
        DELETE FROM stowage.changes WHERE tenant = tenant_id AND seq <= last_gone RETURNING operation
    ),
    summaries AS (
        DELETE FROM stowage.changes AS summary USING (SELECT DISTINCT operation FROM gone) AS cut
        WHERE summary.tenant = tenant_id AND summary.seq > last_gone AND summary.type = 'operation'
          AND summary.operation = cut.operation
        RETURNING summary.seq
    )
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM summaries) INTO forgotten;
    RETURN forgotten;
END
$$;
REVOKE EXECUTE ON FUNCTION stowage.forget_changes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stowage.forget_changes TO stowage_purge;
