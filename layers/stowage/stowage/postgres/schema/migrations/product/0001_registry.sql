-- The tenants: one row each, one schema tenant_{slug} each (CONTRACT §0, Tenant).

CREATE SCHEMA control_plane;
GRANT USAGE ON SCHEMA control_plane TO stowage_app, stowage_dump, stowage_restore, stowage_purge;

CREATE TABLE control_plane.projects (
    id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,100}$'),
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9_]{0,48}$'),
    name text NOT NULL CHECK (name <> ''),
    database text NOT NULL DEFAULT 'main' CHECK (database ~ '^[a-z][a-z0-9_-]{0,62}$'),
    settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz
);
COMMENT ON COLUMN control_plane.projects.database IS 'The server that holds the schema, by its configured name.';

GRANT SELECT ON control_plane.projects TO stowage_app, stowage_dump, stowage_restore, stowage_purge;
