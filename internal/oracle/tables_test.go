//go:build cgo

// Package oracle runs seeded writers against a real PostgreSQL while the program carries its tables and is killed, and then wants the
// database, the items and the latest view of the lake to hold the same, by a comparison of its own.
package oracle

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// subject is a table of the database as the comparison reads it.
type subject struct {
	name    string
	key     []string // none: a snapshot, compared as a multiset
	shifts  bool     // its columns come and go
	emptied bool     // it is truncated now and then
}

// subjects are the tables that the writers change. All but loose have a column updated_at that a trigger sets to now().
func subjects() []subject {
	return []subject{
		{name: "accounts", key: []string{"id"}},
		{name: "pairs", key: []string{"region", "n"}},
		{name: "counters", key: []string{"id"}},
		{name: "scratch", key: []string{"id"}, emptied: true},
		{name: "shifting", key: []string{"id"}, shifts: true},
		{name: "parted", key: []string{"id"}},
		{name: "loose"},
	}
}

// Sizes of the tables: how many keys the writers choose from.
const (
	accountKeys  = 4000
	pairKeys     = 300 // in each of four regions
	counterKeys  = 40
	shiftingKeys = 200
	partedKeys   = 500
)

const ddl = `
create table accounts (id bigint primary key, v bigint not null, body text, price numeric(12,2), open boolean, updated_at timestamptz not null);
alter table accounts alter column body set storage external;
create table pairs (region text collate "C", n int, v bigint not null, note text, updated_at timestamptz not null, primary key (region, n));
create table counters (id int primary key, v bigint not null, updated_at timestamptz not null);
create table scratch (id bigint primary key, v bigint not null, updated_at timestamptz not null);
create table shifting (id bigint primary key, v bigint not null, colour text, updated_at timestamptz not null);
create table parted (id bigint primary key, v bigint not null, updated_at timestamptz not null) partition by hash (id);
create table parted_0 partition of parted for values with (modulus 2, remainder 0);
create table parted_1 partition of parted for values with (modulus 2, remainder 1);
create table loose (v bigint not null, word text);
create function touched() returns trigger language plpgsql as $$begin new.updated_at := now(); return new; end$$;
`

// lay makes the tables with some rows in them.
func lay(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, ddl); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	for _, s := range subjects() {
		if len(s.key) == 0 {
			continue
		}
		_, err := c.Exec(ctx, fmt.Sprintf(`create trigger touched before insert or update on %[1]s for each row execute function touched();
			create index on %[1]s (updated_at, %[2]s)`, s.name, s.key[0]))
		if err != nil {
			return fmt.Errorf("make tables: %w", err)
		}
	}
	_, err := c.Exec(ctx, fmt.Sprintf(`
		insert into accounts select i, -i, case when i %% 7 = 0 then repeat(md5(i::text), 200) end, i / 4.0, i %% 3 = 0 from generate_series(1, %d) i;
		insert into pairs select r, i, -i, r || i from unnest(array['east', 'north', 'Süd', 'west']) r, generate_series(1, %d) i;
		insert into counters select i, -i from generate_series(1, %d) i;
		insert into shifting select i, -i, 'red' from generate_series(1, %d) i;
		insert into parted select i, -i from generate_series(1, %d) i;
		insert into loose select i / 2, 'word ' || i / 2 from generate_series(1, 100) i`,
		accountKeys/2, pairKeys/2, counterKeys, shiftingKeys, partedKeys/2))
	if err != nil {
		return fmt.Errorf("fill tables: %w", err)
	}
	return nil
}
