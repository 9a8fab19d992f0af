-- A far page of the trash leaves out what lies before it without reading it: how much the trash shows of each entity is
-- kept by spans of time as well (stowage/postgres/trash/spans.py), made anew with every recount.
CREATE TABLE stowage.trash_spans (
    tenant text NOT NULL,
    entity text NOT NULL,
    since timestamptz NOT NULL,
    listed bigint NOT NULL,
    PRIMARY KEY (tenant, entity, since)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON stowage.trash_spans TO stowage_app;
GRANT SELECT, UPDATE ON stowage.trash_spans TO stowage_purge;
GRANT SELECT ON stowage.trash_spans TO stowage_dump;

-- A flag says of no row when it was deleted: the trash of those is listed from their entries. Of a column that holds a
-- moment the mark is that moment, so that these entries need no such index.
ALTER TABLE stowage.trash_entries ADD COLUMN of_flag boolean NOT NULL DEFAULT false;
UPDATE stowage.trash_entries SET of_flag = true WHERE mark IS DISTINCT FROM deleted_at;
CREATE INDEX trash_entries_of_flags ON stowage.trash_entries (tenant, entity, deleted_at, id)
    WHERE of_flag AND deleted_with IS NULL;
