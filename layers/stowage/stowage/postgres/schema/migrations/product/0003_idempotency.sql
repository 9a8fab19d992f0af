-- Answers to replay for requests with an Idempotency-Key that write Postgres (CONTRACT §0, Idempotency): kept in the
-- transaction of the change itself. An item of the table would hold 400 KB at most; an answer may have 5 MB.

CREATE TABLE stowage.idempotency_answers (
    tenant text NOT NULL,
    caller text NOT NULL,
    method text NOT NULL,
    route text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    body_sha256 bytea NOT NULL CHECK (octet_length(body_sha256) = 32),
    status smallint NOT NULL CHECK (status BETWEEN 200 AND 299),
    headers jsonb NOT NULL DEFAULT '{}',
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    PRIMARY KEY (tenant, caller, method, route, key)
);
CREATE INDEX idempotency_answers_expires_at ON stowage.idempotency_answers (expires_at);

GRANT SELECT, INSERT, DELETE ON stowage.idempotency_answers TO stowage_app;
