//go:build cgo

package oracle

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is a database of PostgreSQL.
type postgres struct {
	dsn     string
	conn    *pgx.Conn
	control *pgx.Conn
}

func onPostgres() engine {
	return engine{
		name: "postgres", seeds: 2, subjects: postgresSubjects(), keyless: "loose",
		strategies: []strategy{
			{name: "auto", deletes: true, still: true},
			{name: "queue", installed: true, deletes: true},
			{name: "xid", installed: true},
			{name: "xmin"},
			{name: "time"},
			{name: "log", installed: true, deletes: true},
		},
		create: func(t *testing.T, s strategy, seed uint64) (database, string) {
			t.Helper()
			p := &postgres{dsn: server.Database(t)}
			p.conn, p.control = p.connect(t), p.connect(t)
			slot := fmt.Sprintf("oracle_%s_%d", s.name, seed) // slots are the server's, not the database's
			return p, fmt.Sprintf(`type: postgres, dsn: %q, tables: ["public.*", "!public.parted_*"], capture: { strategy: %s, slot: %s, every: 100ms, margin: 500ms, snapshot_every: 1s }`,
				p.dsn, s.name, slot)
		},
	}
}

func (p *postgres) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// postgresSubjects are the tables that the writers change. All but loose have a column updated_at that a trigger sets to now().
func postgresSubjects() []subject {
	return []subject{
		{name: "accounts", key: []string{"id"}},
		{name: "pairs", key: []string{"region", "n"}},
		{name: "counters", key: []string{"id"}},
		{name: "scratch", key: []string{"id"}},
		{name: "shifting", key: []string{"id"}},
		{name: "parted", key: []string{"id"}},
		{name: "loose"},
	}
}

const postgresDDL = `
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

func (p *postgres) lay(ctx context.Context) error {
	c := p.conn
	if _, err := c.Exec(ctx, postgresDDL); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	for _, s := range postgresSubjects() {
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

// held gives each value as the server writes it, in UTC.
func (p *postgres) held(ctx context.Context, s subject) (held, error) {
	if _, err := p.conn.Exec(ctx, "set TimeZone = 'UTC'"); err != nil {
		return held{}, err
	}
	var columns []string
	err := p.conn.QueryRow(ctx, `select array_agg(attname::text order by attnum) from pg_attribute
		where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attname <> 'acequia_xid'`, s.name).Scan(&columns)
	if err != nil {
		return held{}, err
	}
	return selected(ctx, p.conn, s, pgx.Identifier{s.name}, columns)
}

func (p *postgres) changed(ctx context.Context, after time.Time) ([]sight, error) {
	rows, err := p.control.Query(ctx, "select id, v, updated_at from accounts where updated_at > $1 order by updated_at", after)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (one sight, err error) {
		err = r.Scan(&one.id, &one.v, &one.at)
		return one, err
	})
}
