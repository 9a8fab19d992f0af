-- How far each file import is: written in the transaction of the rows themselves, so that an attempt which was killed is
-- followed by one that goes on behind the last row that is there.
CREATE TABLE stowage.file_imports (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    entity text NOT NULL,
    actor text NOT NULL,
    operation text NOT NULL,
    attempt integer NOT NULL,
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    line bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    operation_began_at_row bigint NOT NULL DEFAULT 0,
    operation_failed bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
COMMENT ON COLUMN stowage.file_imports.position IS 'Where the next batch begins: a byte of the file, or a row of a workbook.';
COMMENT ON COLUMN stowage.file_imports.attempt IS 'The fencing number: only that attempt of the run writes.';
COMMENT ON COLUMN stowage.file_imports.closed_at IS 'When its operation was summed up in the journal; nothing is written after that.';
CREATE INDEX file_imports_started_at ON stowage.file_imports (started_at);

-- What became of each row, from which the result files are made: a letter a row (c created, u updated, s skipped,
-- f failed), and the failures as [[row, code, sentence], …].
CREATE TABLE stowage.file_import_batches (
    import text NOT NULL REFERENCES stowage.file_imports ON DELETE CASCADE,
    first_row bigint NOT NULL,
    outcomes text NOT NULL,
    failures jsonb NOT NULL,
    PRIMARY KEY (import, first_row)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON stowage.file_imports, stowage.file_import_batches TO stowage_app;
