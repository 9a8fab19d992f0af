"""A client of Stowage's API: one class, its errors, and the shapes of its answers."""

from stowage_client.changes import Changes
from stowage_client.client import Stowage
from stowage_client.errors import CursorGoneError, RunFailedError, StowageError

__all__ = ["Changes", "CursorGoneError", "RunFailedError", "Stowage", "StowageError"]
