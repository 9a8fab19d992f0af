"""What happened to a tenant's records, as the journal tells it: a record's history, and the audit log."""
