-- A shop that rents boats, as hand-written SQL of the nineties: keys named after their tables, `last_update` by a trigger, join tables, views.
CREATE DOMAIN season AS integer CHECK (VALUE BETWEEN 1900 AND 2155);
CREATE TYPE rating AS ENUM ('calm', 'windy', 'rough');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.last_update = clock_timestamp(); RETURN NEW; END$$;
CREATE TABLE country (country_id serial PRIMARY KEY, country varchar(50) NOT NULL, last_update timestamptz DEFAULT now() NOT NULL);
CREATE TABLE harbour (harbour_id serial PRIMARY KEY, harbour varchar(50) NOT NULL, country_id integer NOT NULL REFERENCES country ON UPDATE CASCADE ON DELETE RESTRICT, last_update timestamptz DEFAULT now() NOT NULL);
CREATE TABLE address (address_id serial PRIMARY KEY, address text NOT NULL, address2 text, district text NOT NULL, harbour_id integer NOT NULL REFERENCES harbour, phone text NOT NULL, last_update timestamp DEFAULT now() NOT NULL);
CREATE TABLE language (language_id smallserial PRIMARY KEY, name character(20) NOT NULL, last_update timestamptz DEFAULT now() NOT NULL);
CREATE TABLE boat (
    boat_id serial PRIMARY KEY, title text NOT NULL, description text, built season, language_id smallint NOT NULL REFERENCES language,
    rental_rate numeric(4,2) DEFAULT 4.99 NOT NULL, length smallint, replacement_cost numeric(5,2) DEFAULT 19.99 NOT NULL, rating rating DEFAULT 'calm',
    extras text[], whole_text text GENERATED ALWAYS AS (title || ' ' || coalesce(description, '')) STORED, id text, last_update timestamptz DEFAULT now() NOT NULL
);
CREATE TABLE sailor (sailor_id serial PRIMARY KEY, first_name varchar(45) NOT NULL, last_name varchar(45) NOT NULL, last_update timestamptz DEFAULT now() NOT NULL);
CREATE TABLE boat_sailor (sailor_id integer NOT NULL REFERENCES sailor, boat_id integer NOT NULL REFERENCES boat, since date, last_update timestamptz DEFAULT now() NOT NULL, PRIMARY KEY (sailor_id, boat_id));
CREATE TABLE store (store_id serial PRIMARY KEY, address_id integer NOT NULL REFERENCES address, opened date);
CREATE TABLE staff (staff_id serial PRIMARY KEY, first_name text NOT NULL, address_id integer NOT NULL REFERENCES address, store_id integer NOT NULL REFERENCES store, active boolean DEFAULT true NOT NULL, username text NOT NULL, password text, picture bytea);
CREATE TABLE "Customer" ("customerId" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "storeId" integer NOT NULL REFERENCES store, "firstName" text NOT NULL, email text, "createdAt" timestamp(3) NOT NULL DEFAULT now(), "updatedAt" timestamp(3) NOT NULL);
CREATE TABLE rental (rental_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), boat_id integer NOT NULL REFERENCES boat, "customerId" bigint NOT NULL REFERENCES "Customer", returned timestamptz, inserted_at timestamp(0) NOT NULL DEFAULT now());
CREATE TABLE payment (payment_id bigint NOT NULL, rental_id uuid NOT NULL REFERENCES rental, amount numeric(5,2) NOT NULL, paid timestamptz NOT NULL, PRIMARY KEY (paid, payment_id));
CREATE TABLE currency (code char(3) PRIMARY KEY, name text NOT NULL);
CREATE TABLE logbook (entry text);
CREATE VIEW boat_list AS SELECT boat.boat_id AS bid, title, rental_rate AS price, rating, count(sailor_id) AS sailors FROM boat LEFT JOIN boat_sailor USING (boat_id) GROUP BY boat.boat_id;
CREATE MATERIALIZED VIEW sales_by_store AS SELECT store_id, count("customerId") AS customers FROM store LEFT JOIN "Customer" ON "storeId" = store_id GROUP BY store_id;
CREATE UNIQUE INDEX sales_by_store_store_id ON sales_by_store (store_id);
CREATE TRIGGER last_updated BEFORE UPDATE ON boat FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER last_updated BEFORE UPDATE ON sailor FOR EACH ROW EXECUTE FUNCTION touch();
