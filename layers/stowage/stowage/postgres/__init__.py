"""Everything that speaks to Postgres: the only psycopg and the only SQL of the product."""
