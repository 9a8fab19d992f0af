-- A helpdesk as a Rails application would have it: bigserial keys, discard, timestamps without zone, polymorphic links.
CREATE TABLE schema_migrations (version character varying PRIMARY KEY);
CREATE TABLE ar_internal_metadata (key character varying PRIMARY KEY, value character varying, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE TABLE organizations (
    id bigserial PRIMARY KEY, name character varying NOT NULL, subdomain character varying NOT NULL, settings jsonb DEFAULT '{}' NOT NULL,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL
);
CREATE UNIQUE INDEX index_organizations_on_subdomain ON organizations (lower(subdomain));
CREATE TABLE users (
    id bigserial PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, email character varying DEFAULT '' NOT NULL,
    encrypted_password character varying DEFAULT '' NOT NULL, reset_password_token character varying, first_name character varying,
    sign_in_count integer DEFAULT 0 NOT NULL, role integer DEFAULT 0 NOT NULL, discarded_at timestamp(6), created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL
);
CREATE UNIQUE INDEX index_users_on_email ON users (email) WHERE discarded_at IS NULL;
CREATE UNIQUE INDEX index_users_on_reset_password_token ON users (reset_password_token);
CREATE TABLE teams (id bigserial PRIMARY KEY, name character varying NOT NULL, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE TABLE memberships (id bigserial PRIMARY KEY, team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE, user_id bigint NOT NULL REFERENCES users, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_memberships_on_team_and_user ON memberships (team_id, user_id);
CREATE TABLE tickets (
    id bigserial PRIMARY KEY, number integer NOT NULL, subject character varying NOT NULL, state character varying DEFAULT 'open' NOT NULL,
    requester_id bigint REFERENCES users ON DELETE SET NULL, assignee_id bigint, team_id bigint, priority integer DEFAULT 1 NOT NULL CHECK (priority >= 0),
    due_on date, closed_at timestamp(6), discarded_at timestamp(6), created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL,
    CONSTRAINT tickets_state CHECK (state IN ('open', 'pending', 'it''s done')), CHECK (closed_at IS NULL OR closed_at >= created_at)
);
CREATE UNIQUE INDEX index_tickets_on_number ON tickets (number) WHERE discarded_at IS NULL;
CREATE TABLE comments (id bigserial PRIMARY KEY, commentable_type character varying, commentable_id bigint, user_id bigint REFERENCES users, body text NOT NULL, discarded_at timestamp(6), created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE TABLE taggings (tag_id bigint NOT NULL, ticket_id bigint NOT NULL);
CREATE TABLE tags (id bigserial PRIMARY KEY, name character varying NOT NULL UNIQUE, taggings_count integer DEFAULT 0);
CREATE TABLE webhooks (id bigserial PRIMARY KEY, url character varying NOT NULL, signing_secret character varying, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE TABLE audits (id bigserial PRIMARY KEY, auditable_type character varying, auditable_id bigint, audited_changes jsonb, version integer DEFAULT 0, remote_address inet, created_at timestamp(6));
CREATE TABLE attachments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), filename character varying NOT NULL, byte_size bigint NOT NULL, checksum character varying, metadata json, data bytea, created_at timestamp(6) NOT NULL);
CREATE TABLE sla_policies (id bigserial PRIMARY KEY, title character varying(80) NOT NULL, hours numeric(6,2) DEFAULT 4.0 NOT NULL, holidays date[] DEFAULT '{}', archived_at timestamp(6), created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE TABLE invoices (id bigserial PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations ON DELETE CASCADE, number character varying NOT NULL, total_cents bigint NOT NULL, currency character varying(3) NOT NULL, "limit" integer, deleted_at timestamp(6), created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL, UNIQUE (number, created_at));
CREATE VIEW open_tickets AS SELECT id, subject FROM tickets WHERE state = 'open';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at = now(); RETURN NEW; END$$;
CREATE TRIGGER touch_invoices BEFORE UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION touch();
