"""Connections, transactions, savepoints and kept answers."""
