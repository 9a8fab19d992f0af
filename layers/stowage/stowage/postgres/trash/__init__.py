"""The trash: list, restore, purge."""
