package mysql

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Installer = (*Source)(nil)

// The queue. Each table has one of its own, whose columns k0, k1 and so on are of the types of its key: so a row is found by its index, and
// a deleted one has its key. acequia.queued says by which key a table is queued, who reads its queue, and up to which of the
// reader's positions it was removed.
const (
	databaseDDL = "CREATE DATABASE IF NOT EXISTS " + mysql.OwnDatabase
	queuedDDL   = "CREATE TABLE IF NOT EXISTS " + mysql.OwnDatabase + `.queued (
	id char(16) CHARACTER SET ascii NOT NULL PRIMARY KEY, tab varchar(200) NOT NULL, columns text NOT NULL, consumer varchar(255), removed bigint unsigned NOT NULL DEFAULT 0
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`
)

// ownTriggers begins the names of what acequia makes on tables.
const ownTriggers = "acequia_"

// queueID names a table among those of the queue, whose names are too short for its own.
func queueID(t *mysql.Table) string {
	sum := sha256.Sum256([]byte(t.Database + "\x00" + t.Name))
	return hex.EncodeToString(sum[:8])
}

func queueName(t *mysql.Table) string { return mysql.OwnDatabase + ".queue_" + queueID(t) }

// queueDDL makes the queue of a table.
func queueDDL(t *mysql.Table) string {
	var columns strings.Builder
	for i, k := range t.Key {
		ty := &t.Column(k).Type
		fmt.Fprintf(&columns, ", k%d %s", i, ty.Name)
		if ty.Charset != "" {
			fmt.Fprintf(&columns, " CHARACTER SET %s COLLATE %s", ty.Charset, ty.Collation)
		}
		columns.WriteString(" NOT NULL")
	}
	return "CREATE TABLE IF NOT EXISTS " + queueName(t) + " (\n\tseq bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, at timestamp(6) NOT NULL DEFAULT current_timestamp(6)" +
		columns.String() + "\n) ENGINE = InnoDB"
}

// keyOf tells by which key a table is queued: names and types.
func keyOf(t *mysql.Table) string {
	all := make([]string, len(t.Key))
	for i, k := range t.Key {
		ty := &t.Column(k).Type
		all[i] = strings.TrimSpace(k + " " + ty.Name + " " + ty.Collation)
	}
	return strings.Join(all, ", ")
}

// trigger is one of acequia's on a table.
type trigger struct {
	name, event, body string
	made              string // when, as the server says
}

// wanted gives the triggers that fill the queue of a table.
func wanted(t *mysql.Table) []trigger {
	put := func(row string) string {
		names, values := make([]string, len(t.Key)), make([]string, len(t.Key))
		for i, k := range t.Key {
			names[i], values[i] = fmt.Sprintf("k%d", i), row+"."+mysql.Quote(k)
		}
		return "INSERT INTO " + queueName(t) + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
	}
	same := make([]string, len(t.Key))
	for i, k := range t.Key {
		if name := mysql.Quote(k); t.Column(k).Type.Charset != "" { // its collation may tell fewer apart
			same[i] = "CAST(OLD." + name + " AS BINARY) <=> CAST(NEW." + name + " AS BINARY)"
		} else {
			same[i] = "OLD." + name + " <=> NEW." + name
		}
	}
	id := ownTriggers + queueID(t) + "_"
	return []trigger{
		{name: id + "insert", event: "INSERT", body: put("NEW")},
		{name: id + "update", event: "UPDATE", body: "BEGIN " + put("OLD") + "; IF NOT (" + strings.Join(same, " AND ") + ") THEN " + put("NEW") + "; END IF; END"},
		{name: id + "delete", event: "DELETE", body: put("OLD")},
	}
}

// triggersOf gives the triggers of acequia that are on a table.
func triggersOf(ctx context.Context, c *mysql.Conn, t *mysql.Table) (all []trigger, err error) {
	rows, err := c.Query(ctx, `SELECT trigger_name, event_manipulation, action_statement, created FROM information_schema.triggers
		WHERE event_object_schema = ? AND event_object_table = ? AND action_timing = 'AFTER' ORDER BY trigger_name`, t.Database, t.Name)
	for _, r := range rows {
		if strings.HasPrefix(r.Text(0), ownTriggers) {
			all = append(all, trigger{name: r.Text(0), event: r.Text(1), body: r.Text(2), made: r.Text(3)})
		}
	}
	return all, mysql.Explain(err, "look at the triggers of "+t.Quoted(), t.Stream())
}

// Install gives the statements that are still to be run for a strategy.
func (s *Source) Install(ctx context.Context, r sources.InstallRequest) ([]sources.Statement, error) {
	var all []sources.Statement
	switch {
	case r.Strategy == byLog:
		err := s.with(ctx, func(c *mysql.Conn) (err error) {
			all, err = s.installLog(ctx, c)
			return err
		})
		return all, err
	case r.Strategy != queue:
		return nil, &fault.Error{Code: "ACQ-MY-041", Err: fmt.Errorf("there is nothing to install for strategy %q", r.Strategy), Remedy: "say queue or log"}
	case r.Overflow == overflowStops:
		return nil, &fault.Error{
			Code: "ACQ-MY-043", Err: errors.New("triggers of MySQL cannot stop writing: what one transaction decides others see too late"),
			Remedy: "leave --overflow away, and watch the queue: acequia capture status",
		}
	}
	err := s.ofTables(ctx, r, func(c *mysql.Conn, tables []*table) error {
		for _, t := range tables {
			if !t.follows() || !t.Transactional() {
				continue
			}
			m, err := s.means(ctx, c, t)
			if err != nil {
				return err
			}
			all = append(all, installQueue(t, m)...)
		}
		if len(all) > 0 {
			all = append([]sources.Statement{
				{SQL: databaseDDL, Why: "all that acequia adds beside triggers is in here"},
				{SQL: queuedDDL, Why: "which tables are queued, and who reads them"},
			}, all...)
		}
		return nil
	})
	return all, err
}

// overflowStops is what InstallRequest.Overflow says for it.
const overflowStops = "stop_trigger"

// installQueue gives the statements for one table. A queue that has another key is made anew.
func installQueue(t *table, m means) (all []sources.Statement) {
	add := func(why, sql string) {
		all = append(all, sources.Statement{SQL: sql, Why: why, Table: t.Database + "." + t.Name})
	}
	drop := func(why, name string) {
		add(why, "DROP TRIGGER IF EXISTS "+mysql.Quote(t.Database)+"."+mysql.Quote(name))
	}
	for _, name := range m.strays {
		drop("it has gone with a table that has another name now", name)
	}
	if m.queuedKey != "" && m.queuedKey != keyOf(t.Table) {
		for _, name := range slices.Sorted(maps.Keys(m.triggers)) {
			drop("the table has another key now", name)
		}
		add("the table has another key now", "DROP TABLE IF EXISTS "+queueName(t.Table))
		m.triggers, m.queued = nil, false
	}
	if !m.queued {
		add("keys of rows that were changed, until they are read", queueDDL(t.Table))
		add("the table is queued, by this key", fmt.Sprintf("INSERT INTO %s.queued (id, tab, columns) VALUES ('%s', %s, %s) ON DUPLICATE KEY UPDATE columns = VALUES(columns), consumer = NULL, removed = 0",
			mysql.OwnDatabase, queueID(t.Table), mysql.Literal(t.Database+"."+t.Name), mysql.Literal(keyOf(t.Table))))
	}
	for _, w := range wanted(t.Table) {
		if body, there := m.triggers[w.name]; there && body == w.body {
			continue
		}
		if _, there := m.triggers[w.name]; there {
			drop("it does something else", w.name)
		}
		add("each row that is written", fmt.Sprintf("CREATE TRIGGER %s.%s AFTER %s ON %s FOR EACH ROW %s", mysql.Quote(t.Database), mysql.Quote(w.name), w.event, t.Quoted(), w.body))
	}
	return all
}

// Uninstall gives the statements that take away what Install puts there.
func (s *Source) Uninstall(ctx context.Context, r sources.InstallRequest) ([]sources.Statement, error) {
	var all []sources.Statement
	if r.Strategy == byLog { // the server's settings are others' too
		return nil, nil
	}
	if r.Strategy != queue && r.Strategy != "" {
		return nil, &fault.Error{Code: "ACQ-MY-041", Err: fmt.Errorf("there is nothing to uninstall for strategy %q", r.Strategy), Remedy: "say queue"}
	}
	err := s.ofTables(ctx, r, func(c *mysql.Conn, tables []*table) error {
		var ours []string
		for _, t := range tables {
			m, err := s.means(ctx, c, t)
			if err != nil {
				return err
			}
			add := func(why, sql string) {
				all = append(all, sources.Statement{SQL: sql, Why: why, Table: t.Database + "." + t.Name})
			}
			for _, name := range append(slices.Sorted(maps.Keys(m.triggers)), m.strays...) {
				add("writes go on as before", "DROP TRIGGER IF EXISTS "+mysql.Quote(t.Database)+"."+mysql.Quote(name))
			}
			if m.queued {
				ours = append(ours, queueID(t.Table))
				add("nobody reads it any more", "DROP TABLE IF EXISTS "+queueName(t.Table))
				add("the table is not queued any more", fmt.Sprintf("DELETE FROM %s.queued WHERE id = '%s'", mysql.OwnDatabase, queueID(t.Table)))
			}
		}
		return dropShared(ctx, c, ours, &all)
	})
	return all, err
}

// dropShared takes away what no table needs any more once the statements were run.
func dropShared(ctx context.Context, c *mysql.Conn, ours []string, all *[]sources.Statement) error {
	row, err := c.QueryRow(ctx, "SELECT COUNT(*), COALESCE(SUM(table_name = 'queued' OR FIND_IN_SET(table_name, ?)), 0) FROM information_schema.tables WHERE table_schema = ?",
		"queue_"+strings.Join(ours, ",queue_"), mysql.OwnDatabase)
	if err != nil {
		return mysql.Explain(err, "look at the database acequia", c.Host())
	}
	if row.Int(0) > 0 && row.Int(0) == row.Int(1) {
		*all = append(*all, sources.Statement{SQL: "DROP DATABASE IF EXISTS " + mysql.OwnDatabase, Why: "no table needs it any more"})
	}
	return nil
}

// Apply runs statements, each on its own: the server ends a transaction at each of them.
func (s *Source) Apply(ctx context.Context, statements []sources.Statement, done func(sources.Statement)) error {
	return s.with(ctx, func(c *mysql.Conn) error {
		for _, one := range statements {
			if err := c.Exec(ctx, one.SQL); err != nil {
				return mysql.Explain(err, one.SQL, cmp.Or(one.Table, c.Host()))
			}
			if done != nil {
				done(one)
			}
		}
		return nil
	})
}

// Installed says how each table can be followed, and is.
func (s *Source) Installed(ctx context.Context) ([]sources.Installed, error) {
	var all []sources.Installed
	err := s.ofTables(ctx, sources.InstallRequest{}, func(c *mysql.Conn, tables []*table) error {
		for _, t := range tables {
			one, err := s.installed(ctx, c, t)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

func (s *Source) installed(ctx context.Context, c *mysql.Conn, t *table) (sources.Installed, error) {
	one := sources.Installed{Table: t.Database + "." + t.Name, Stream: t.stream, Strategy: t.note.Strategy}
	if !t.follows() {
		kind := "table without a key"
		if t.View {
			kind = "view"
		}
		one.Missing = []sources.Missing{{Reason: "a " + kind + " is read anew every so often"}}
		return one, nil
	}
	m, err := s.means(ctx, c, t)
	if err != nil {
		return one, err
	}
	for _, strategy := range ranking {
		if missing := s.lacks(t, m, strategy); missing != nil {
			one.Missing = append(one.Missing, *missing)
		} else {
			one.Ready = append(one.Ready, strategy)
		}
	}
	if t.note.Epoch > 0 {
		one.Risks = s.risksOf(t, m, t.note.Strategy)
	}
	if m.queued {
		one.Waiting, one.Oldest, err = waiting(ctx, c, t)
	}
	return one, err
}

// waiting gives how many entries the queue of a table has, and how old the oldest is.
func waiting(ctx context.Context, c *mysql.Conn, t *table) (n int64, age time.Duration, err error) {
	row, err := c.QueryRow(ctx, "SELECT COUNT(*), COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(at), UTC_TIMESTAMP(6)), 0) FROM "+queueName(t.Table))
	if err != nil {
		return 0, 0, mysql.Explain(err, "look at the queue", t.stream)
	}
	return row.Int(0), time.Duration(row.Int(1)) * time.Microsecond, nil
}

// ofTables does something with the tables that a request chooses, as the catalog has them now.
func (s *Source) ofTables(ctx context.Context, r sources.InstallRequest, do func(*mysql.Conn, []*table) error) error {
	return s.with(ctx, func(c *mysql.Conn) error {
		if err := s.inspect(ctx, c); err != nil {
			return err
		}
		found, err := s.catalog(ctx, c)
		if err != nil {
			return err
		}
		var tables []*table
		for _, f := range found {
			chosen := len(r.Tables) == 0
			if !chosen {
				if chosen, err = mysql.Matches(r.Tables, f.Database, f.Name); err != nil {
					return fault.Stop(err)
				}
			}
			if !chosen {
				continue
			}
			t := &table{Table: f, stream: f.Stream(), found: &findings{}}
			if s.state != nil {
				if _, err := s.load(ctx, t); err != nil {
					return err
				}
			}
			tables = append(tables, t)
		}
		if len(tables) == 0 {
			return &fault.Error{Code: "ACQ-MY-042", Place: c.Host(), Err: errors.New("no table is chosen"), Remedy: "look at tables, and at --tables"}
		}
		return do(c, tables)
	})
}
