"""Our own schema: migrations, roles, the registry of tenants, what a table needs."""
