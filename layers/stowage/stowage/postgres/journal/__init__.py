"""The journal: changes, operations, audit entries."""
