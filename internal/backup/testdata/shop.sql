CREATE EXTENSION hstore;
CREATE SCHEMA "Back Office";
CREATE TYPE mood AS ENUM ('sad', 'so so', 'ha"ppy');
CREATE TYPE "Back Office".money2 AS (amount numeric(12,2), currency char(3));
CREATE DOMAIN price AS numeric(10,2) DEFAULT 1.50 CHECK (value >= 0);
CREATE TYPE floatrange AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi);
CREATE TYPE dayrange AS RANGE (SUBTYPE = date);
CREATE FUNCTION clean(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE SEQUENCE tickets START 1000 INCREMENT 10;

CREATE TABLE users (
	id bigint GENERATED ALWAYS AS IDENTITY (START WITH 5 INCREMENT BY 5) PRIMARY KEY,
	email text COLLATE "C" NOT NULL UNIQUE,
	name varchar(40) DEFAULT 'nobody',
	feeling mood DEFAULT 'sad',
	extra hstore, document jsonb DEFAULT '{"a": 1}', tags text[] DEFAULT '{}',
	born date CHECK (born < '2100-01-01' OR born = 'infinity'),
	seen timestamptz DEFAULT now(),
	lower_email text GENERATED ALWAYS AS (lower(email)) STORED,
	cleaned text DEFAULT clean('X')
) WITH (fillfactor = 90);
INSERT INTO users (email, name, feeling, extra, tags, born, seen)
	SELECT 'U' || n || '@example.com', nullif('name ' || n, 'name 7'), (ARRAY['sad', 'so so', 'ha"ppy', NULL])[n % 4 + 1]::mood, hstore('k', n::text),
		ARRAY['a"b', NULL, n::text], CASE n % 100 WHEN 0 THEN 'infinity' WHEN 1 THEN '0044-03-15 BC' ELSE date '2000-01-01' + n END, '2026-11-24 12:00:00.123456+00'
	FROM generate_series(1, 500) n;
CREATE INDEX users_by_name ON users (name, id DESC) INCLUDE (email) WHERE name IS NOT NULL;
CREATE INDEX users_by_clean ON users (clean(email));
CREATE TABLE reservations (
	id serial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, cost price, spent "Back Office".money2,
	ticket bigint DEFAULT nextval('tickets'), during dayrange, EXCLUDE USING gist (during WITH &&) WHERE (user_id = 5)
);
INSERT INTO reservations (user_id, cost, spent) SELECT 5 * (n % 500 + 1), n % 90, row((n / 7.0)::numeric(12,2), 'EUR'::char(3))::"Back Office".money2 FROM generate_series(1, 3000) n;
ALTER TABLE reservations REPLICA IDENTITY FULL;
CREATE TABLE seats (room int, number int, taken_by int REFERENCES reservations, note text, PRIMARY KEY (room, number), UNIQUE (number, room)) PARTITION BY RANGE (room);
CREATE TABLE seats_low PARTITION OF seats FOR VALUES FROM (MINVALUE) TO (10);
CREATE TABLE seats_high PARTITION OF seats FOR VALUES FROM (10) TO (MAXVALUE) PARTITION BY LIST (number);
CREATE TABLE seats_high_odd PARTITION OF seats_high DEFAULT;
CREATE INDEX seats_taken ON seats (taken_by);
INSERT INTO seats SELECT r, n, CASE WHEN n % 3 = 0 THEN n + 1 END, E'tab\there \\N' FROM generate_series(1, 20) r, generate_series(1, 30) n;
CREATE TABLE "Back Office"."Odd ""name"" / % ñ" ("a b" int, "select" numeric, f float8, f4 float4, n numeric(20,4), by bytea, at timestamp, during interval, ip inet, j json);
INSERT INTO "Back Office"."Odd ""name"" / % ñ" VALUES
	(1, 'NaN', 'NaN', '-Infinity', 'NaN', '\x00ff', 'infinity', '1 mon -2 days 03:04:05.6', '::1/64', ' {"a":1, "a": 2}'),
	(2, 1e400, '-0', 'Infinity', 1234567890123456.7891, '\x', '294276-12-31', '-1 hour', '10.0.0.0/8', 'null'), (2, 1.10, 5e-324, 0.1, 0, NULL, '0001-01-01', '0', NULL, NULL);
CREATE TABLE empty (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, r floatrange);
CREATE UNLOGGED TABLE scratch (words text);
INSERT INTO scratch SELECT repeat('w', n) FROM generate_series(0, 100) n;
CREATE VIEW looks AS SELECT id FROM users;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER told AFTER INSERT ON users EXECUTE FUNCTION tell();
COMMENT ON COLUMN users.name IS 'of people';
