package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Snapshotter = (*Source)(nil)

// partBlocks is how many blocks of a table, of 8 KiB each, are one part of a snapshot.
const partBlocks = 32 << 10

// mostOpenings is how often a snapshot is opened anew because tables were changed while they were locked.
const mostOpenings = 5

// standing is the database at a moment: a session that keeps its snapshot, and the tables from being changed, while others read in it.
type standing struct {
	source   *Source
	session  *postgres.Conn
	snapshot string // exported
	info     sources.SnapshotInfo
	tables   map[string]*kept
}

// kept is a table that is being shown.
type kept struct {
	table  *postgres.Table // without its key
	layout *postgres.Layout
	parts  []extent
}

// extent is some blocks of a table or of a partition; the zero value of its blocks is all of it.
type extent struct {
	from   string // as a FROM names it
	blocks blocks
}

// Snapshot locks the tables as every read does, then takes the snapshot: so no TRUNCATE and no ALTER TABLE, which older snapshots see
// through, comes between what it shows and what is read in it.
func (s *Source) Snapshot(ctx context.Context, tables []string) (sources.Snapshot, error) {
	session, err := s.pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	m := &standing{source: s, session: session}
	for range mostOpenings {
		var same bool
		if same, err = m.open(ctx, tables); err != nil || same {
			break
		}
		err = &fault.Error{
			Class: fault.Retryable, Code: "ACQ-PG-071", Place: m.info.Database, Err: fmt.Errorf("tables were changed in each of %d attempts to lock them", mostOpenings),
			Remedy: "try again when nobody makes, drops or alters tables",
		}
	}
	if err != nil {
		s.pool.Put(ctx, session, err)
		return nil, err
	}
	return m, nil
}

// open takes the snapshot; not same says that the tables are not those that were locked.
func (m *standing) open(ctx context.Context, patterns []string) (same bool, err error) {
	c := m.session
	m.info = sources.SnapshotInfo{Engine: "postgresql", Database: c.Config().Database, Consistent: true}
	if err := m.rights(ctx, patterns); err != nil {
		return false, err
	}
	before, err := m.list(ctx, patterns)
	if err != nil {
		return false, err
	}
	if len(before) == 0 {
		return false, &fault.Error{
			Code: "ACQ-PG-032", Place: m.info.Database, Err: sources.ErrNoTables, Remedy: "look at tables: in the settings of the source, and at those that were asked for",
		}
	}
	defer func() {
		if (err != nil || !same) && !c.IsClosed() {
			_, failed := c.Exec(ctx, "rollback")
			err = errors.Join(err, postgres.Explain(failed, "end the snapshot", m.info.Database))
		}
	}()
	if err := m.lock(ctx, before); err != nil {
		return false, err
	}
	after, err := m.list(ctx, patterns)
	if err != nil || !slices.EqualFunc(before, after, alike) {
		return false, err
	}
	return true, m.describe(ctx, after)
}

// alike says whether a table is what it was.
func alike(a, b *postgres.Table) bool {
	return a.OID == b.OID && a.Schema == b.Schema && a.Name == b.Name && markOf(a) == markOf(b)
}

// rights refuses a backup without those of the chosen tables that the role may not read.
func (m *standing) rights(ctx context.Context, patterns []string) error {
	grants, err := postgres.Denied(ctx, m.session, m.source.config.Tables, patterns)
	if err != nil || len(grants) == 0 {
		return err
	}
	return &fault.Error{
		Code: "ACQ-PG-005", Place: m.info.Database, Err: errors.New("the role may not read some of the tables, and a backup without them would not be whole"),
		Remedy: strings.Join(grants, "; ") + "; or leave them out, with ! in tables of the source",
	}
}

// list gives the tables that hold rows, and notes the others.
func (m *standing) list(ctx context.Context, patterns []string) ([]*postgres.Table, error) {
	all, err := postgres.ListTables(ctx, m.session, m.source.config.Tables)
	if err != nil {
		return nil, err
	}
	m.info.NotKept = nil
	var out []*postgres.Table
	for _, t := range all {
		if len(patterns) > 0 {
			if in, err := postgres.Matches(patterns, t.Schema, t.Name); err != nil || !in {
				if err != nil {
					return nil, fault.Stop(err)
				}
				continue
			}
		}
		if t.Kind != postgres.Ordinary && t.Kind != postgres.Partitioned {
			m.info.NotKept = append(m.info.NotKept, t.Kind.String()+" "+t.Quoted())
			continue
		}
		out = append(out, t)
	}
	return out, nil
}

// lock begins the transaction: to lock takes no snapshot, and what comes after does.
func (m *standing) lock(ctx context.Context, tables []*postgres.Table) error {
	c := m.session
	var log string
	err := c.QueryRow(ctx, `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end::text`).Scan(&log)
	if err != nil {
		return postgres.Explain(err, "ask where the log stands", m.info.Database)
	}
	if _, err = c.Exec(ctx, "begin isolation level repeatable read read only"); err != nil {
		return postgres.Explain(err, "begin the snapshot", m.info.Database)
	}
	for some := range slices.Chunk(tables, 500) {
		names := make([]string, len(some))
		for i, t := range some {
			names[i] = t.Quoted()
		}
		if _, err = c.Exec(ctx, "lock table "+strings.Join(names, ", ")+" in access share mode"); err != nil {
			return postgres.Explain(err, "lock the tables", m.info.Database)
		}
	}
	var seen string
	err = c.QueryRow(ctx, "select pg_export_snapshot(), pg_current_snapshot()::text, clock_timestamp(), version(), set_config('search_path', '', true)").
		Scan(&m.snapshot, &seen, &m.info.At, &m.info.Server, nil)
	m.info.Position = map[string]string{"snapshot": seen, "lsn_before": log}
	return postgres.Explain(err, "take the snapshot", m.info.Database)
}

// describe finds what makes the tables again, and how they are read.
func (m *standing) describe(ctx context.Context, tables []*postgres.Table) error {
	m.info.At = m.info.At.UTC()
	m.tables, m.info.Tables = map[string]*kept{}, nil
	d := definer{conn: m.session, info: &m.info}
	if err := d.types(ctx, tables); err != nil {
		return err
	}
	for _, t := range tables {
		definition, err := d.table(ctx, t)
		if err != nil {
			return err
		}
		k := &kept{}
		if k.table, k.layout, err = keyless(t); err != nil {
			return err
		}
		if k.parts, err = m.parts(ctx, t); err != nil {
			return err
		}
		if m.tables[t.Stream()] != nil {
			return &fault.Error{
				Code: "ACQ-PG-035", Place: t.Stream(), Err: errors.New("two tables would be the same stream"),
				Remedy: "leave one of them out, with ! and its schema and name in tables",
			}
		}
		m.tables[t.Stream()] = k
		m.info.Tables = append(m.info.Tables, sources.SnapshotTable{Schema: k.layout.Schema, Rows: t.Rows, Parts: len(k.parts), Definition: definition})
	}
	return d.rest(ctx, tables)
}

// keyless lets any column be null or unfit: nothing here goes by keys.
func keyless(t *postgres.Table) (*postgres.Table, *postgres.Layout, error) {
	bare := *t
	bare.Key, bare.KeyIndex = nil, 0
	layout, err := postgres.NewLayout(&bare, postgres.LayoutOptions{Stream: t.Stream()})
	return &bare, layout, err
}

// parts cuts a table, or each of its partitions, into runs of blocks, which one snapshot shows without gap or overlap.
func (m *standing) parts(ctx context.Context, t *postgres.Table) (parts []extent, err error) {
	rows, err := m.session.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname), c.relkind::text, case when c.relkind = 'r' then pg_relation_size(c.oid) / current_setting('block_size')::int8 else 0 end
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.oid = $1 and c.relkind <> 'p' or c.oid in (select relid from pg_partition_tree($1) where isleaf and relid <> $1)
		order by c.oid`, t.OID)
	if err == nil {
		defer rows.Close()
	}
	for err == nil && rows.Next() {
		var name, kind string
		var size int64
		if err = rows.Scan(&name, &kind, &size); err != nil {
			break
		}
		e := extent{from: "only " + name}
		if kind != string(postgres.Ordinary) {
			parts = append(parts, e)
			continue
		}
		for at := int64(0); at == 0 || at < size; at += partBlocks {
			e.blocks = blocks{From: uint32(at)} // a table has fewer than 2^32 blocks
			if at+partBlocks < size {
				e.blocks.To = uint32(at + partBlocks)
			}
			parts = append(parts, e)
		}
	}
	if err == nil {
		err = rows.Err()
	}
	return parts, postgres.Explain(err, "ask how large "+t.Quoted()+" is", t.Stream())
}

// About tells what the database was.
func (m *standing) About() sources.SnapshotInfo { return m.info }

// Scan reads a part of a table in the snapshot.
func (m *standing) Scan(ctx context.Context, stream string, part int, each func(*record.Batch) error) error {
	k := m.tables[stream]
	if k == nil || part < 0 || part >= len(k.parts) {
		return fault.Stop(fmt.Errorf("postgres: the snapshot has no part %d of %q", part, stream))
	}
	begin := "begin isolation level repeatable read read only; set transaction snapshot " + literal(m.snapshot) + "; set local max_parallel_workers_per_gather = 0"
	if k.parts[part].blocks != (blocks{}) {
		begin += "; set local enable_seqscan = off" // it would read all blocks for each part
	}
	return m.source.with(ctx, func(c *postgres.Conn) (err error) {
		if _, err = c.Exec(ctx, begin); err != nil {
			return postgres.Explain(fmt.Errorf("%w; the session that keeps the snapshot may be gone", err), "read in the snapshot", stream)
		}
		if err := m.read(ctx, c, k, k.parts[part], each); err != nil {
			return err // the pool closes a connection that is in a transaction
		}
		_, err = c.Exec(ctx, "commit")
		return postgres.Explain(err, "end the read of "+k.table.Quoted(), stream)
	})
}

// read runs the statement of a part.
func (m *standing) read(ctx context.Context, c *postgres.Conn, k *kept, e extent, each func(*record.Batch) error) error {
	sql := "select " + k.layout.Select() + " from " + e.from
	var args []string
	if e.blocks != (blocks{}) {
		sql, args = sql+" where ctid >= $1::tid", []string{place{Block: e.blocks.From}.String()}
		if e.blocks.To > 0 {
			sql, args = sql+" and ctid < $2::tid", append(args, place{Block: e.blocks.To}.String())
		}
	}
	return rowsInto(ctx, c, k.table, k.layout, sql, args, each)
}

// rowsInto runs a statement over a table that holds still, and hands on its rows.
func rowsInto(ctx context.Context, c *postgres.Conn, t *postgres.Table, layout *postgres.Layout, sql string, args []string, each func(*record.Batch) error) error {
	d := layout.Decoder()
	var refused error // by each: it is none of the server's
	hand := func() error {
		batches, err := d.Batches(func(int, *record.System) {})
		for _, b := range batches {
			if err == nil {
				refused = each(b)
				err = refused
			}
			b.Release()
		}
		return err
	}
	err := c.StreamInto(ctx, sql, args, d, postgres.StreamOptions{Rows: chunkRows, Bytes: chunkBytes, Full: hand})
	switch {
	case refused != nil:
		return refused
	case err != nil:
		return postgres.Explain(err, "read "+t.Quoted(), t.Stream())
	}
	return hand()
}

// Close ends the session that keeps the snapshot.
func (m *standing) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := m.session.Exec(ctx, "rollback")
	m.source.pool.Put(ctx, m.session, err)
	return postgres.Explain(err, "end the snapshot", m.info.Database)
}
