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

-- Whether an entry is of a flag (0027 says what for). Earlier versions of this file made the index of 0027 as well, while
-- the new column locked the table.
-- earlier: f0c3a47f7c272668924099b7f288471478936a2000511d2ab2c4c89c1bc29cc4
ALTER TABLE stowage.trash_entries ADD COLUMN of_flag boolean NOT NULL DEFAULT false;
