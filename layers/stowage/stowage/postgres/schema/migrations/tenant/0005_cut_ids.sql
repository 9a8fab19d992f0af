-- A path is cut at a `?`, so a change to the record `abc` is refused while there is an `abc?x=2`: this
-- index holds just the ids with a `?`.

CREATE INDEX brands_cut_ids ON brands ((id::text) COLLATE "C") WHERE strpos(id::text, '?') > 0;
CREATE INDEX groups_cut_ids ON groups ((id::text) COLLATE "C") WHERE strpos(id::text, '?') > 0;
CREATE INDEX accounts_cut_ids ON accounts ((id::text) COLLATE "C") WHERE strpos(id::text, '?') > 0;
CREATE INDEX posts_cut_ids ON posts ((id::text) COLLATE "C") WHERE strpos(id::text, '?') > 0;
CREATE INDEX users_cut_ids ON users ((id::text) COLLATE "C") WHERE strpos(id::text, '?') > 0;
CREATE INDEX tasks_cut_ids ON tasks ((id::text) COLLATE "C") WHERE strpos(id::text, '?') > 0;
