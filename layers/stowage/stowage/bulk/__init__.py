"""Bulk edits with a result for each id, and their undo (docs/api.md)."""

from stowage.bulk.deleting import bulk_delete
from stowage.bulk.listing import read_operations
from stowage.bulk.reassigning import bulk_reassign
from stowage.bulk.undoing import bulk_undo

__all__ = ["bulk_delete", "bulk_reassign", "bulk_undo", "read_operations"]
