-- What the trash knows of a record lies beside the table by now (product/0024_trash_beside); the row keeps deleted_at.
SELECT stowage.move_trash(current_schema(), name, name)
FROM unnest(ARRAY['brands', 'groups', 'accounts', 'posts', 'users', 'tasks']) AS name;
