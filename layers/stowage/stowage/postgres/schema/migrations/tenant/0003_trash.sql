-- What came to the trash with its parent says so: it is not listed by itself, and it comes back, or goes for good, with
-- the parent alone.

ALTER TABLE brands ADD COLUMN deleted_with text;
ALTER TABLE groups ADD COLUMN deleted_with text;
ALTER TABLE accounts ADD COLUMN deleted_with text;
ALTER TABLE posts ADD COLUMN deleted_with text;
ALTER TABLE users ADD COLUMN deleted_with text;
ALTER TABLE tasks ADD COLUMN deleted_with text;

UPDATE posts SET deleted_with = posts.account_id
FROM accounts
WHERE posts.deleted_at IS NOT NULL
  AND accounts.id = posts.account_id AND accounts.deleted_operation = posts.deleted_operation;

-- The list, newest first: only what is listed by itself.
DROP INDEX brands_deleted_at, groups_deleted_at, accounts_deleted_at, posts_deleted_at, users_deleted_at,
    tasks_deleted_at;
CREATE INDEX brands_deleted_at ON brands (deleted_at, id) WHERE deleted_at IS NOT NULL AND deleted_with IS NULL;
CREATE INDEX groups_deleted_at ON groups (deleted_at, id) WHERE deleted_at IS NOT NULL AND deleted_with IS NULL;
CREATE INDEX accounts_deleted_at ON accounts (deleted_at, id) WHERE deleted_at IS NOT NULL AND deleted_with IS NULL;
CREATE INDEX posts_deleted_at ON posts (deleted_at, id) WHERE deleted_at IS NOT NULL AND deleted_with IS NULL;
CREATE INDEX users_deleted_at ON users (deleted_at, id) WHERE deleted_at IS NOT NULL AND deleted_with IS NULL;
CREATE INDEX tasks_deleted_at ON tasks (deleted_at, id) WHERE deleted_at IS NOT NULL AND deleted_with IS NULL;

-- The purge's role is new to schemas made before.
SELECT stowage.grant_tenant(current_schema());
