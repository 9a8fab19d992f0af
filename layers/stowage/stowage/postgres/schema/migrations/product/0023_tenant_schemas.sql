-- A tenant's schema may have any name; without one it is tenant_{slug}.
ALTER TABLE control_plane.projects
    ADD COLUMN schema text CHECK (
        octet_length(schema) BETWEEN 1 AND 63
        AND schema !~ '^pg_' AND schema NOT IN ('information_schema', 'stowage', 'control_plane')
    );
COMMENT ON COLUMN control_plane.projects.schema IS 'The schema of the tenant''s tables; null for tenant_{slug}.';
CREATE UNIQUE INDEX projects_schema ON control_plane.projects (database, coalesce(schema, 'tenant_' || slug));
