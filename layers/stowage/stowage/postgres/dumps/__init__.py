"""pg_dump of one schema: what it holds, how far it is, what it must not hold."""
