package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Snapshotter = (*Source)(nil)

// mostOpenings is how often a snapshot is opened anew because tables were changed while they were locked.
const mostOpenings = 5

// standing is the database at a moment: a session that keeps the tables from being changed, and others that read in one snapshot.
type standing struct {
	source  *Source
	guard   *mysql.Conn
	readers []*mysql.Conn
	free    chan *mysql.Conn // those of the readers that nobody reads with
	info    sources.SnapshotInfo
	tables  map[string]*kept
}

// kept is a table that is being shown.
type kept struct {
	table  *mysql.Table // without its key
	layout *mysql.Layout
	parts  []string // the conditions of its parts, with their WHERE
}

// Snapshot locks the tables as every read does, and then takes the snapshot: an ALTER TABLE or TRUNCATE, which snapshots do not hold back,
// waits until it is closed. Several sessions read where all of them can be told to see the same moment, see join.
func (s *Source) Snapshot(ctx context.Context, tables []string) (_ sources.Snapshot, err error) {
	m := &standing{source: s}
	if m.guard, err = s.pool.Get(ctx); err != nil {
		return nil, err
	}
	if err = m.open(ctx, tables); err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	return m, nil
}

func (m *standing) open(ctx context.Context, patterns []string) error {
	m.info = sources.SnapshotInfo{Engine: "mysql", Database: m.guard.Database(), Server: m.guard.GetServerVersion(), Consistent: true}
	tables, err := m.hold(ctx, patterns)
	if err != nil {
		return err
	}
	if err := m.join(ctx, tables); err != nil {
		return err
	}
	if m.info.At, err = clock(ctx, m.guard); err != nil {
		return err
	}
	return m.describe(ctx, tables)
}

// hold locks the tables that are chosen, in a transaction that has no snapshot.
func (m *standing) hold(ctx context.Context, patterns []string) ([]*mysql.Table, error) {
	for range mostOpenings {
		before, err := m.list(ctx, patterns)
		if err != nil {
			return nil, err
		}
		if len(before) == 0 {
			return nil, &fault.Error{
				Code: "ACQ-MY-074", Place: m.place(), Err: sources.ErrNoTables, Remedy: "look at tables: in the settings of the source, and at those that were asked for",
			}
		}
		if err := m.begin(ctx, m.guard, "READ COMMITTED", "START TRANSACTION READ ONLY"); err != nil {
			return nil, err
		}
		err = m.lock(ctx, m.guard, before)
		if err != nil && !errors.Is(err, errGone) {
			return nil, err
		}
		if err == nil {
			after, err := m.list(ctx, patterns)
			if err != nil {
				return nil, err
			}
			if slices.EqualFunc(before, after, alike) {
				return after, nil
			}
		}
		if err := m.guard.Exec(ctx, "ROLLBACK"); err != nil {
			return nil, mysql.Explain(err, "end the snapshot", m.place())
		}
	}
	return nil, &fault.Error{
		Class: fault.Retryable, Code: "ACQ-MY-071", Place: m.place(), Err: fmt.Errorf("tables were changed in each of %d attempts to lock them", mostOpenings),
		Remedy: "try again when nobody makes, drops or alters tables",
	}
}

// place is what errors name: the database, or the server where several are read.
func (m *standing) place() string {
	if m.info.Database == "" {
		return m.guard.Host()
	}
	return m.info.Database
}

// alike says whether a table is what it was.
func alike(a, b *mysql.Table) bool {
	return a.Database == b.Database && a.Name == b.Name && a.Engine == b.Engine && a.Mark() == b.Mark()
}

// list gives the tables that hold rows, and notes the others. One that may not be read is an error.
func (m *standing) list(ctx context.Context, patterns []string) ([]*mysql.Table, error) {
	all, grants, err := mysql.ListTables(ctx, m.guard, m.source.config.Tables, patterns)
	if err != nil {
		return nil, err
	}
	if len(grants) > 0 {
		return nil, &fault.Error{
			Code: "ACQ-MY-005", Place: m.place(), Err: errors.New("the user may not read some of the tables, and a backup without them would not be whole"),
			Remedy: strings.Join(grants, "; ") + "; or leave them out, with ! in tables of the source",
		}
	}
	m.info.NotKept = nil
	return slices.DeleteFunc(all, func(t *mysql.Table) bool {
		if t.View {
			m.info.NotKept = append(m.info.NotKept, "view "+t.Quoted())
		}
		return t.View
	}), nil
}

func (m *standing) begin(ctx context.Context, c *mysql.Conn, isolation, begin string) error {
	for _, sql := range []string{"ROLLBACK", "SET TRANSACTION ISOLATION LEVEL " + isolation, begin} {
		if err := c.Exec(ctx, sql); err != nil {
			return mysql.Explain(err, "begin the snapshot", m.place())
		}
	}
	return nil
}

// lockedAtOnce is how many tables one statement takes; a server joins 61 at most.
const lockedAtOnce = 50

// lock keeps tables from being altered, truncated or dropped until the transaction ends, as every read of them does. No row is read.
func (m *standing) lock(ctx context.Context, c *mysql.Conn, tables []*mysql.Table) error {
	for some := range slices.Chunk(tables, lockedAtOnce) {
		looks := make([]string, len(some))
		for i, t := range some {
			looks[i] = "(SELECT 1 FROM " + t.Quoted() + " LIMIT 0)"
		}
		if _, err := c.Query(ctx, "SELECT "+strings.Join(looks, ", ")); err != nil {
			return changed(err, mysql.Explain(err, "lock the tables", m.place()))
		}
	}
	return nil
}

// mostJoins is how often readers try to begin at the same moment, and joinPause how long it is waited between two attempts.
const (
	mostJoins = 20
	joinPause = 20 * time.Millisecond
)

// join begins the snapshots of the readers. MariaDB tells of each where in its binary log it stands, as one with the snapshot: those that say
// the same see the same moment, for whatever was committed between them would be in the log. So it wants a log that leaves nothing out;
// without one, and on MySQL, which does not tell, one session reads all. Writers that come between two readers have them begin anew; when
// that goes on, those that agree read. A session that writes with sql_log_bin off is not seen.
func (m *standing) join(ctx context.Context, tables []*mysql.Table) error {
	wanted := m.source.config.Parallel
	means, err := inspectLog(ctx, m.guard)
	if err != nil {
		return err
	}
	tells := m.guard.Flavor == mysql.MariaDB && means.variables["log_bin"] == "ON"
	if !tells || !means.replica || means.filters != "" {
		wanted = 1
	}
	for range wanted {
		c, err := m.source.pool.Get(ctx)
		if err != nil {
			return err
		}
		m.readers = append(m.readers, c)
	}
	m.info.Position = map[string]string{}
	if m.guard.Flavor == mysql.MySQL {
		row, err := m.guard.QueryRow(ctx, "SELECT @@GLOBAL.gtid_executed")
		if err != nil {
			return mysql.Explain(err, "ask where the log stands", m.place())
		}
		m.info.Position["gtid_before"] = strings.ReplaceAll(row.Text(0), "\n", "")
	}
	if err := m.together(ctx, tells); err != nil {
		return err
	}
	m.free = make(chan *mysql.Conn, len(m.readers))
	for _, c := range m.readers {
		if err := m.lock(ctx, c, tables); err != nil {
			return err
		}
		m.free <- c
	}
	return nil
}

// together begins the readers' snapshots until they agree, and lets those go that do not in the end.
func (m *standing) together(ctx context.Context, tells bool) error {
	var at []logPosition
	for try := range mostJoins {
		if try > 0 && !rests(ctx, joinPause) {
			return ctx.Err()
		}
		at = make([]logPosition, len(m.readers))
		for _, c := range m.readers {
			if err := m.begin(ctx, c, repeatable, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
				return err
			}
		}
		if !tells {
			return nil
		}
		for i, c := range m.readers {
			var err error
			if at[i], err = snapshotAt(ctx, c); err != nil {
				return mysql.Explain(err, "ask where the log stands", m.place())
			}
		}
		if !slices.ContainsFunc(at, func(p logPosition) bool { return p.File != at[0].File || p.Offset != at[0].Offset }) {
			break
		}
	}
	var agree []*mysql.Conn
	for i, c := range m.readers {
		if at[i].File == at[0].File && at[i].Offset == at[0].Offset {
			agree = append(agree, c)
			continue
		}
		m.source.pool.Put(ctx, c, c.Exec(ctx, "ROLLBACK"))
	}
	m.readers = agree
	row, err := m.guard.QueryRow(ctx, "SELECT BINLOG_GTID_POS(?, ?)", at[0].File, at[0].Offset)
	if err != nil || row == nil {
		return mysql.Explain(err, "ask where the log stands", m.place())
	}
	m.info.Position["gtid"] = row.Text(0)
	m.info.Position["binlog_file"], m.info.Position["binlog_position"] = at[0].File, strconv.FormatUint(uint64(at[0].Offset), 10)
	return nil
}

// describe finds what makes the tables again, and how they are read.
func (m *standing) describe(ctx context.Context, tables []*mysql.Table) error {
	m.tables = map[string]*kept{}
	d := definer{conn: m.guard, info: &m.info}
	for _, t := range tables {
		definition, err := d.table(ctx, t)
		if err != nil {
			return err
		}
		k := &kept{}
		if k.table, k.layout, err = keyless(t, t.Stream()); err != nil {
			return err
		}
		if k.parts, err = m.parts(ctx, t); err != nil {
			return err
		}
		if m.tables[t.Stream()] != nil {
			return &fault.Error{
				Code: "ACQ-MY-035", Place: t.Stream(), Err: errors.New("two tables would be the same stream"),
				Remedy: "leave one of them out, with ! and its database and name in tables",
			}
		}
		if !t.Transactional() {
			m.info.Consistent = false
			m.info.NotKept = append(m.info.NotKept, "the moment of "+t.Quoted()+": tables of "+t.Engine+" show none")
		}
		m.tables[t.Stream()] = k
		m.info.Tables = append(m.info.Tables, sources.SnapshotTable{Schema: k.layout.Schema, Rows: t.Rows, Parts: len(k.parts), Definition: definition})
	}
	return d.rest(ctx, tables)
}

// keyless lets any column be null or unfit: nothing here goes by keys.
func keyless(t *mysql.Table, stream string) (*mysql.Table, *mysql.Layout, error) {
	bare := *t
	bare.Key, bare.KeyIndex = nil, ""
	layout, err := mysql.NewLayout(&bare, mysql.LayoutOptions{Stream: stream})
	return &bare, layout, err
}

// parts cuts a table by its keys. The keys may be of rows that the snapshot does not have: they cut it all the same, without gap or overlap.
func (m *standing) parts(ctx context.Context, t *mysql.Table) ([]string, error) {
	b, err := cut(ctx, m.guard, t, m.source.partRows)
	if err != nil {
		return nil, err
	}
	defer b.release()
	if b.rows() == 0 {
		return []string{""}, nil
	}
	layout, err := keyLayout(t)
	if err != nil {
		return nil, err
	}
	var parts []string
	var one part
	for row := range b.rows() {
		one.UpTo = b.layout.KeyText(b.keys, row)
		parts = append(parts, byKey(t)+keyRange(layout, t, one))
		one = part{After: one.UpTo}
	}
	return append(parts, byKey(t)+keyRange(layout, t, one)), nil
}

// About tells what the database was.
func (m *standing) About() sources.SnapshotInfo { return m.info }

// Scan reads a part of a table in the snapshot.
func (m *standing) Scan(ctx context.Context, stream string, part int, each func(*record.Batch) error) error {
	k := m.tables[stream]
	if k == nil || part < 0 || part >= len(k.parts) {
		return fault.Stop(fmt.Errorf("mysql: the snapshot has no part %d of %q", part, stream))
	}
	select {
	case c := <-m.free:
		defer func() { m.free <- c }()
		if c.IsClosed() {
			return fault.Retry(fmt.Errorf("mysql: read %s: the session that shows the moment is gone", k.table.Quoted()))
		}
		return k.read(ctx, c, k.parts[part], each)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read runs a statement over a table that holds still, and hands on its rows.
func (k *kept) read(ctx context.Context, c *mysql.Conn, where string, each func(*record.Batch) error) error {
	d := k.layout.Decoder()
	hand := func() error {
		batches, err := d.Batches(func(int, *record.System) {})
		for _, b := range batches {
			if err == nil {
				err = each(b)
			}
			b.Release()
		}
		return err
	}
	sql := "SELECT " + k.layout.Select("t") + " FROM " + k.table.Quoted() + " t" + where
	err := c.StreamInto(ctx, sql, d, mysql.StreamOptions{Rows: chunkRows, Bytes: chunkBytes, Full: hand})
	if err != nil {
		return err
	}
	return hand()
}

// errSpent ends connections that no other work may have.
var errSpent = errors.New("it was of a backup")

// Close ends the sessions that keep the moment.
func (m *standing) Close(ctx context.Context) error {
	for _, c := range append(m.readers, m.guard) {
		m.source.pool.Put(ctx, c, errSpent)
	}
	return nil
}
