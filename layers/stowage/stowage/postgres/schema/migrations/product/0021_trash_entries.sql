-- What the trash knows of a record whose table has but a column of the product's own for it (stowage/postgres/tables/
-- trashed.py): who deleted it, by which operation, with which parent, and when it goes for good.
--
-- An entry counts only while its mark is the row's own: the moment in the row's column, or of a flag the time of the
-- row's last change. What does not count is swept by the purge.
CREATE TABLE stowage.trash_entries (
    tenant text NOT NULL,
    entity text NOT NULL,
    id text NOT NULL,
    mark timestamptz,
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    deleted_with text,
    PRIMARY KEY (tenant, entity, id)
);

-- The daily purge, oldest first.
CREATE INDEX trash_entries_purge_at ON stowage.trash_entries (tenant, entity, purge_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON stowage.trash_entries TO stowage_app, stowage_purge;
GRANT SELECT ON stowage.trash_entries TO stowage_dump;
