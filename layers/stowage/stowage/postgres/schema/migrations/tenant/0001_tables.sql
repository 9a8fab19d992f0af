-- The tables of the sample product (CONTRACT §3, Entities), in a tenant's schema, which is the search path here.
-- The columns are those that stowage/entities.py declares. A row is in the trash when deleted_at is set.
-- Lengths are bounded where an index holds the column: its entries end at a third of a page, about 2,700 bytes.

CREATE TABLE brands (
    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 1000),
    label text NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 1000),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    CONSTRAINT brands_trash CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
);

CREATE TABLE groups (
    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 1000),
    brand_id text NOT NULL,
    label text NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 1000),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    CONSTRAINT groups_trash CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
);

CREATE TABLE accounts (
    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 1000),
    username text NOT NULL CHECK (octet_length(username) BETWEEN 1 AND 500),
    display_name text,
    platform text NOT NULL CHECK (octet_length(platform) BETWEEN 1 AND 100),
    brand_id text NOT NULL,
    group_id text,
    followers bigint NOT NULL DEFAULT 0 CHECK (followers >= 0),
    status text NOT NULL DEFAULT 'active' CHECK (status <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    CONSTRAINT accounts_trash CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
);

CREATE TABLE posts (
    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 1000),
    account_id text NOT NULL,
    url text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2000),
    caption text,
    likes bigint NOT NULL DEFAULT 0 CHECK (likes >= 0),
    posted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    CONSTRAINT posts_trash CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
);

CREATE TABLE users (
    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 1000),
    name text NOT NULL CHECK (name <> ''),
    email text NOT NULL CHECK (email <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    CONSTRAINT users_trash CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
);

CREATE TABLE tasks (
    id text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 1000),
    title text NOT NULL CHECK (title <> ''),
    description text,
    status text NOT NULL DEFAULT 'todo',
    priority text NOT NULL DEFAULT 'medium',
    assignee text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    deleted_by text,
    purge_at timestamptz,
    deleted_operation text,
    CONSTRAINT tasks_status CHECK (status IN ('todo', 'in_progress', 'completed')),
    CONSTRAINT tasks_priority CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    CONSTRAINT tasks_trash CHECK (num_nulls(deleted_at, purge_at) IN (0, 2))
);
