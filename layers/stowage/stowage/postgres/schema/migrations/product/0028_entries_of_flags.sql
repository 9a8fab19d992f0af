-- Locks these entries and nothing else. What this cannot tell, and what functions of the version before still write while
-- they are replaced, the next recount of the trash mends (stowage/postgres/trash/spans.py).
UPDATE stowage.trash_entries SET of_flag = true WHERE NOT of_flag AND mark IS DISTINCT FROM deleted_at;
