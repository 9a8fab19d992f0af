"""Stowage: exports, bulk edits, trash, backups and restores for a Postgres product with one schema per tenant."""
