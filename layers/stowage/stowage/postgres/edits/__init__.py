"""Changes of records: insert, update, delete, assign, undo."""
