-- A flag says of no row when it was deleted: the trash of those is listed from their entries. Of a column that holds a
-- moment the mark is that moment, so that these entries need no such index.
--
-- No entry says `of_flag` yet, so that deletions wait only until the table was read once (0028 fills the index).
CREATE INDEX IF NOT EXISTS trash_entries_of_flags ON stowage.trash_entries (tenant, entity, deleted_at, id)
    WHERE of_flag AND deleted_with IS NULL;
