-- Tables as nobody designs them together: every kind of key, of time and of type, an own trash under two names, four levels of children.
CREATE TYPE taste AS ENUM ('sweet', 'sour');
CREATE DOMAIN share AS numeric(5,4) CHECK (VALUE BETWEEN 0 AND 1);
CREATE TABLE movies (id serial PRIMARY KEY, title text NOT NULL, stars smallint CHECK (stars > 0), created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE guilds_of_cooks (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL UNIQUE, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, guild_id uuid REFERENCES guilds_of_cooks, kind text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE dishes (
    id text PRIMARY KEY, tags text[], sizes integer[], doc jsonb, plain json, price numeric(20,8), tip numeric, raw bytea, dur interval, pt point, during tstzrange,
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple', coalesce(note, ''))) STORED, note text, born date, at time, ref uuid, ip inet, net cidr, mac macaddr,
    taste taste, part share, twice numeric GENERATED ALWAYS AS (price * 2) STORED, flag boolean DEFAULT true, ratio real, weight double precision, code char(4), bits bit(3),
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp(0) NOT NULL DEFAULT now()
);
INSERT INTO dishes (id, tags, sizes, doc, plain, price, tip, raw, dur, pt, during, note, born, at, ref, ip, net, mac, taste, part, ratio, weight, code, bits)
VALUES ('d1', '{a,"b c",NULL}', '{{1,2},{3,4}}', '{"a": [1, 2.50, null]}', '{"b":  1}', 12345678901.12345678, 1.10, '\x00ff', '1 mon 2 days', '(1,2.5)', '[2026-01-01 00:00+00,)',
        'hello =1+1', '2020-02-29', '12:34:56.789', gen_random_uuid(), '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', 'sour', 0.5, 0.1, 1e-300, 'ab', B'101'),
       ('d2', NULL, NULL, NULL, NULL, 'NaN', 'Infinity', NULL, '-1 year 3 days -04:05:06.7', NULL, 'empty', E'two\nlines, "quoted"', '0044-03-15 BC', '24:00', NULL, '::1', NULL, NULL, NULL, NULL, 'NaN', '-Infinity', NULL, NULL);
CREATE TABLE memberships (guild_id uuid REFERENCES guilds_of_cooks, cook_id int, role text, PRIMARY KEY (guild_id, cook_id));
INSERT INTO guilds_of_cooks (name) VALUES ('Bakers');
INSERT INTO memberships SELECT id, n, 'cook' FROM guilds_of_cooks, generate_series(1, 3) AS n;
CREATE TABLE reel (reel_id serial PRIMARY KEY, title text, last_update timestamptz DEFAULT now());
CREATE TABLE "Cook" (id text PRIMARY KEY, "fullName" text, "apiKey" text DEFAULT 'k-1234', "createdAt" timestamp(3) NOT NULL DEFAULT now(), "updatedAt" timestamp(3) NOT NULL DEFAULT now());
CREATE TABLE notes (id text PRIMARY KEY, body text, deleted_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
INSERT INTO notes (id, body, deleted_at) VALUES ('n1', 'alive', NULL), ('n2', 'deleted by the product', '2026-01-01');
CREATE TABLE halls (hall_id bigserial PRIMARY KEY, name text NOT NULL, discarded_at timestamp);
CREATE TABLE shelves (id bigserial PRIMARY KEY, hall_id bigint NOT NULL REFERENCES halls ON DELETE CASCADE, label text NOT NULL, discarded_at timestamp, UNIQUE (hall_id, id));
CREATE UNIQUE INDEX one_label ON shelves (hall_id, label) WHERE discarded_at IS NULL;
CREATE TABLE boxes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), hall_id bigint NOT NULL REFERENCES halls ON DELETE CASCADE, shelf_id bigint NOT NULL, label text NOT NULL,
    is_deleted boolean NOT NULL DEFAULT false, updated_at timestamptz NOT NULL DEFAULT now(), FOREIGN KEY (hall_id, shelf_id) REFERENCES shelves (hall_id, id) ON DELETE CASCADE
);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF pg_trigger_depth() < 2 THEN UPDATE boxes SET updated_at = clock_timestamp() WHERE id = NEW.id; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER touch AFTER INSERT OR UPDATE ON boxes FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE jars (id text PRIMARY KEY, box_id uuid NOT NULL REFERENCES boxes ON DELETE CASCADE, hall_id bigint NOT NULL REFERENCES halls ON DELETE CASCADE, jam text, deleted_at timestamptz(0));
