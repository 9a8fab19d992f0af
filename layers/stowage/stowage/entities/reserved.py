"""Names that entities and fields cannot have, because the API has them."""

NAMES = frozenset((
    # Routes beside /api/v1/{entity}; those of a module that has none of its own yet are kept free.
    "api", "attention", "audit", "batch", "bulk", "entities", "entity", "graphql", "guilds", "health", "history",
    "import", "imports", "me", "openapi", "stream", "tenants", "tenant", "upload", "uploads", "webhook", "webhooks",
    # Data types of exports, and the words of webhooks' events.
    "gdpr", "backup", "backups", "export", "exports", "operation", "schedule", "schema", "trash",
))  # fmt: skip
"""Names of no entity, plural or singular."""

FIELD_NAMES = frozenset((
    "id", "createdAt", "updatedAt", "deletedAt", "deletedBy", "purgeAt", "deletedOperation", "deletedWith",
    # Parameters of lists and exports that are no fields.
    "page", "limit", "sort", "search", "ids", "createdAfter", "createdBefore", "startDate", "endDate",
))  # fmt: skip
"""Names of no field of an entity's own."""
