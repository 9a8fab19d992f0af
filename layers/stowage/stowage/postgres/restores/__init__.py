"""Restores: a dump fed to psql, checked beside the live schema, swapped in; all the SQL of it."""
