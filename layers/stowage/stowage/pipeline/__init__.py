"""Bytes from a source through compression and hashing into storage."""
