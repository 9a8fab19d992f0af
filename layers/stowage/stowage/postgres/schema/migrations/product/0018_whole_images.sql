-- What an entry of the journal holds of a record. `after` is the whole record as it became: every declared field, and of
-- what `before` names the rest. `before` is only what changed, as it was.
--
-- Entries of earlier versions stay as they were written, for nobody can tell any more what the rest of the record was.
-- Of those, `after` holds what changed alone, but for `created`, which was whole already; a reader knows a whole image by
-- its `id`. They are undone as the others are, because undo compares the columns that `before` names, and exported as
-- they are. Nobody rewrites the journal.
COMMENT ON COLUMN stowage.changes.before IS
    'What changed, as it was, by column name; null for a record just created.';
COMMENT ON COLUMN stowage.changes.after IS
    'The whole record as it became, by column name; what changed alone where there is no id in it (0018_whole_images).';
