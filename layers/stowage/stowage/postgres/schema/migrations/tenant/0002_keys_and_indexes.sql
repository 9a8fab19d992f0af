-- What holds the tables together and makes them quick to read. A file of its own, because a big tenant is filled
-- first and indexed afterwards.

-- A row keeps its parent for as long as it exists, in the trash too. A task outlives the person it was given to.
ALTER TABLE groups ADD CONSTRAINT groups_brand_id_fkey FOREIGN KEY (brand_id) REFERENCES brands;
ALTER TABLE accounts ADD CONSTRAINT accounts_brand_id_fkey FOREIGN KEY (brand_id) REFERENCES brands;
ALTER TABLE accounts ADD CONSTRAINT accounts_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups;
ALTER TABLE posts ADD CONSTRAINT posts_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts;
ALTER TABLE tasks ADD CONSTRAINT tasks_assignee_fkey FOREIGN KEY (assignee) REFERENCES users ON DELETE SET NULL;

-- Unique among the rows that are not in the trash: what is in it must not block its own replacement.
CREATE UNIQUE INDEX brands_label_key ON brands (label) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX groups_brand_id_label_key ON groups (brand_id, label) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX accounts_platform_username_key ON accounts (platform, username) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX posts_url_key ON posts (url) WHERE deleted_at IS NULL;

-- Children of a parent: filters, cascades, and the check before a parent goes for good.
CREATE INDEX groups_brand_id ON groups (brand_id);
CREATE INDEX accounts_brand_id ON accounts (brand_id);
CREATE INDEX accounts_group_id ON accounts (group_id);
CREATE INDEX posts_account_id ON posts (account_id);
CREATE INDEX tasks_assignee ON tasks (assignee);

-- Lists newest first, and createdAfter and createdBefore of exports.
CREATE INDEX brands_created_at ON brands (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX groups_created_at ON groups (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX accounts_created_at ON accounts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX posts_created_at ON posts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX users_created_at ON users (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_created_at ON tasks (created_at, id) WHERE deleted_at IS NULL;

-- The trash: its list newest first, the daily purge, and the rows of one operation.
CREATE INDEX brands_deleted_at ON brands (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX brands_purge_at ON brands (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX brands_deleted_operation ON brands (deleted_operation) WHERE deleted_operation IS NOT NULL;
CREATE INDEX groups_deleted_at ON groups (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX groups_purge_at ON groups (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX groups_deleted_operation ON groups (deleted_operation) WHERE deleted_operation IS NOT NULL;
CREATE INDEX accounts_deleted_at ON accounts (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX accounts_purge_at ON accounts (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX accounts_deleted_operation ON accounts (deleted_operation) WHERE deleted_operation IS NOT NULL;
CREATE INDEX posts_deleted_at ON posts (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX posts_purge_at ON posts (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX posts_deleted_operation ON posts (deleted_operation) WHERE deleted_operation IS NOT NULL;
CREATE INDEX users_deleted_at ON users (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_purge_at ON users (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX users_deleted_operation ON users (deleted_operation) WHERE deleted_operation IS NOT NULL;
CREATE INDEX tasks_deleted_at ON tasks (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX tasks_purge_at ON tasks (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX tasks_deleted_operation ON tasks (deleted_operation) WHERE deleted_operation IS NOT NULL;
