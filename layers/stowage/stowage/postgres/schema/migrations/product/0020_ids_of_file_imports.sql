-- The ids that the database made for rows of a file: `[row, id]` each. Ids that Stowage makes follow from the row.
ALTER TABLE stowage.file_import_batches ADD COLUMN made_ids jsonb NOT NULL DEFAULT '[]';
