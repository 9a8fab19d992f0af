-- A database in SQL_ASCII holds any bytes. An entry with bytes that are no UTF-8 could never be read, nor could the
-- pages of the audit log and of the feed in which it stands. So the change that would append it is refused.
DO $$
BEGIN
    IF current_setting('server_encoding') = 'SQL_ASCII' THEN
        ALTER TABLE stowage.changes ADD CONSTRAINT changes_in_utf8
            CHECK (convert_from(convert_to(concat(id, before, after), 'SQL_ASCII'), 'UTF8') IS NOT NULL) NOT VALID;
    END IF;
END
$$;
