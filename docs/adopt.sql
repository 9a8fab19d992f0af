-- The schema of a product that lets rooms, as it was before it knew of Stowage; docs/adopt.md adopts it.
CREATE SCHEMA tenant_acme;
SET search_path = tenant_acme;

CREATE TYPE booking_status AS ENUM ('requested', 'confirmed', 'cancelled');

CREATE TABLE rooms (
    id bigserial PRIMARY KEY,
    name varchar(80) NOT NULL UNIQUE,
    seats integer NOT NULL CHECK (seats > 0),
    equipment jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE customers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    email text NOT NULL,
    password_digest text NOT NULL DEFAULT 'x',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE UNIQUE INDEX customers_email ON customers (email) WHERE deleted_at IS NULL;
CREATE INDEX customers_created_at ON customers (created_at);
CREATE INDEX customers_deleted_at ON customers (deleted_at, id) WHERE deleted_at IS NOT NULL;

CREATE TABLE bookings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id bigint NOT NULL REFERENCES rooms ON DELETE RESTRICT,
    customer_id uuid NOT NULL REFERENCES customers ON DELETE RESTRICT,
    status booking_status NOT NULL DEFAULT 'requested',
    during tstzrange NOT NULL,
    price numeric(10, 2) NOT NULL,
    CONSTRAINT one_booking_at_a_time
        EXCLUDE USING gist (int8range(room_id, room_id, '[]') WITH &&, during WITH &&) WHERE (status <> 'cancelled')
);
CREATE INDEX bookings_room_id ON bookings (room_id);
CREATE INDEX bookings_customer_id ON bookings (customer_id);

INSERT INTO rooms (name, seats) SELECT 'Room ' || n, 2 * n FROM generate_series(1, 20) AS n;
INSERT INTO customers (name, email) SELECT 'Customer ' || n, 'customer' || n || '@example.com' FROM generate_series(1, 500) AS n;
INSERT INTO bookings (room_id, customer_id, during, price)
SELECT 1 + n % 20, id, tstzrange(day, day + interval '2 hours'), 25 + n % 40
FROM (
    SELECT n, id, timestamptz '2026-01-01 09:00Z' + n / 20 * interval '1 day' AS day
    FROM generate_series(1, 2000) AS n
    JOIN (SELECT id, row_number() OVER (ORDER BY email) AS place FROM customers) AS customer ON place = 1 + n % 500
) AS made;
