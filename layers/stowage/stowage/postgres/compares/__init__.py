"""Backups compared with the live tenant: staged, set against it, listed, and read for what is brought back."""
