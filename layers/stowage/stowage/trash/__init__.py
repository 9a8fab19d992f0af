"""The trash: what was deleted, until it comes back or goes for good (docs/api.md)."""
