package mysql

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Restorer = (*Source)(nil)

// restoration makes tables in databases of its own, for each statement that makes one is there at once for all to see, and puts them into
// their places with one RENAME TABLE at the end. What a process leaves that is killed is in those databases alone; the next restore
// drops them. A lock of the server keeps two of them apart.
type restoration struct {
	source    *Source
	conn      *mysql.Conn
	info      sources.SnapshotInfo
	staged    map[string]string // of each database that tables are of, the one in which they are made
	tables    map[string]*kept
	sequences []sequence
	placed    bool // the sequences are in their places, and the tables are not
	packet    int  // the longest statement that the server takes
	locked    bool // nobody else restores into the databases
	finished  bool
}

// lockPatience is how long another restore into the same database is waited for, in seconds: the server may not have noticed yet that its
// process is gone.
const lockPatience = 3

// Restore makes the tables.
func (s *Source) Restore(ctx context.Context, info sources.SnapshotInfo) (_ sources.Restoration, err error) {
	if info.Engine != "mysql" {
		return nil, &fault.Error{
			Code: "ACQ-MY-073", Place: info.Database, Err: fmt.Errorf("the backup is of %s", info.Engine), Remedy: "restore it into a source of that kind",
		}
	}
	c, err := s.pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoration{source: s, conn: c, info: info, staged: map[string]string{}, tables: map[string]*kept{}}
	if err := r.begin(ctx); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

// place is the database, or the server where there are several.
func (r *restoration) place() string {
	if db := r.conn.Database(); db != "" {
		return db
	}
	return r.conn.Host()
}

func (r *restoration) begin(ctx context.Context) error {
	for i := range r.info.Tables {
		t := &r.info.Tables[i]
		database, _, err := r.target(t)
		if err != nil {
			return err
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(database))
		r.staged[database] = fmt.Sprintf("%s%016x", mysql.RestorePrefix, h.Sum64())
	}
	for i := range r.info.Tables {
		if err := r.find(&r.info.Tables[i]); err != nil {
			return err
		}
	}
	if err := r.settings(ctx); err != nil {
		return err
	}
	if err := r.alone(ctx); err != nil {
		return err
	}
	if err := r.empty(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Values(r.staged)) {
		if err := r.run(ctx, r.place(), "DROP DATABASE IF EXISTS "+mysql.Quote(name), "CREATE DATABASE "+mysql.Quote(name)); err != nil {
			return err
		}
	}
	for i := range r.info.Tables {
		if err := r.make(ctx, &r.info.Tables[i]); err != nil {
			return err
		}
	}
	return nil
}

// target is where a table goes: names without a database are of the dsn's.
func (r *restoration) target(t *sources.SnapshotTable) (database, name string, err error) {
	parts, rest := identifiers(t.Definition.Name)
	switch {
	case rest != "" || len(parts) == 0 || len(parts) > 2:
		return "", "", r.unlike(t, t.Definition.Name)
	case len(parts) == 2:
		return parts[0], parts[1], nil
	case r.conn.Database() == "":
		return "", "", &fault.Error{
			Code: "ACQ-MY-004", Place: r.conn.Host(), Err: errors.New("the dsn names no database, and the backup is of one"), Remedy: "write mysql://user@host:port/database",
		}
	}
	return r.conn.Database(), parts[0], nil
}

// unlike says that a manifest has something that no backup of this source has.
func (r *restoration) unlike(t *sources.SnapshotTable, statement string) error {
	return &fault.Error{
		Code: "ACQ-MY-072", Place: t.Schema.Stream, Err: fmt.Errorf("the manifest has a statement that is none of its table: %.200s", statement), Remedy: "look at the backup's manifest",
	}
}

// settings let a session write what tables have: zero dates and days that are none, a 0 that is no next number, rows that a foreign key or a
// check would not take now, as they stood when there was none.
func (r *restoration) settings(ctx context.Context) error {
	statements := []string{"SET SESSION foreign_key_checks = 0", "SET SESSION " + loadMode + ", sql_quote_show_create = 1"}
	if r.conn.Flavor == mysql.MariaDB {
		statements = append(statements, "SET SESSION check_constraint_checks = 0")
	}
	if err := r.run(ctx, r.place(), statements...); err != nil {
		return err
	}
	row, err := r.conn.QueryRow(ctx, "SELECT @@SESSION.max_allowed_packet")
	if err != nil {
		return mysql.Explain(err, "ask how long a statement may be", r.place())
	}
	r.packet = int(row.Int(0))
	return nil
}

const (
	loadMode = "sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'"
	// looseMode lets an ENUM have the value 0, which is none of its members. A value that is changed is seen when the table is read back.
	looseMode = "sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'"
)

// alone waits until no other restore goes into the same databases. The locks end with the session.
func (r *restoration) alone(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Values(r.staged)) {
		row, err := r.conn.QueryRow(ctx, "SELECT GET_LOCK(?, ?)", name, lockPatience)
		if err != nil {
			return mysql.Explain(err, "wait for other restores", r.place())
		}
		if row == nil || row.Int(0) != 1 {
			return &fault.Error{
				Class: fault.Retryable, Code: "ACQ-MY-077", Place: r.place(), Err: errors.New("another restore goes into this database"), Remedy: "wait for its end; nothing was changed",
			}
		}
	}
	r.locked = true
	return nil
}

// empty refuses a database in which one of the tables is.
func (r *restoration) empty(ctx context.Context) error {
	folded, err := r.conn.QueryRow(ctx, "SELECT @@lower_case_table_names")
	if err != nil {
		return mysql.Explain(err, "look whether the tables are there", r.place())
	}
	same := func(a, b string) bool { return a == b || folded.Int(0) > 0 && strings.EqualFold(a, b) }
	var there []string
	for database := range r.staged {
		rows, err := r.conn.Query(ctx, "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = ?", database)
		if err != nil {
			return mysql.Explain(err, "look whether the tables are there", r.place())
		}
		for i := range r.info.Tables {
			in, name, err := r.target(&r.info.Tables[i])
			if err != nil {
				return err
			}
			if in == database && slices.ContainsFunc(rows, func(row mysql.Row) bool { return same(row.Text(0), in) && same(row.Text(1), name) }) {
				there = append(there, r.info.Tables[i].Definition.Name)
			}
		}
		for _, q := range r.sequences {
			if slices.ContainsFunc(rows, func(row mysql.Row) bool { return same(mysql.Quote(row.Text(0))+"."+mysql.Quote(row.Text(1)), q.to) }) {
				there = append(there, "sequence "+q.name)
			}
		}
	}
	if len(there) == 0 {
		return nil
	}
	slices.Sort(there)
	more := ""
	if len(there) > 5 {
		there, more = there[:5], fmt.Sprintf(" and %d more", len(there)-5)
	}
	return &fault.Error{
		Code: "ACQ-MY-070", Place: r.place(), Err: fmt.Errorf("the database is not empty: it has %s%s", strings.Join(there, ", "), more),
		Remedy: "restore into a new database (CREATE DATABASE), or choose other tables; nothing was changed",
	}
}

// run runs statements.
func (r *restoration) run(ctx context.Context, place string, statements ...string) error {
	for _, s := range statements {
		if err := r.conn.Exec(ctx, s); err != nil {
			return mysql.Explain(err, "run "+s, place)
		}
	}
	return nil
}

// at is what a table is called while it is made.
func (r *restoration) at(t *sources.SnapshotTable) (string, error) {
	database, name, err := r.target(t)
	return mysql.Quote(r.staged[database]) + "." + mysql.Quote(name), err
}

// moved makes a statement of the backup one of the table that is being made.
func (r *restoration) moved(t *sources.SnapshotTable, verb, statement string) (string, error) {
	rest, ok := strings.CutPrefix(statement, verb+" TABLE "+t.Definition.Name+" ")
	if !ok {
		return "", r.unlike(t, statement)
	}
	name, err := r.at(t)
	return verb + " TABLE " + name + " " + rest, err
}

// make makes a table, and looks at it.
func (r *restoration) make(ctx context.Context, t *sources.SnapshotTable) error {
	for _, s := range t.Definition.Create {
		s, err := r.moved(t, "CREATE", s)
		if err != nil {
			return err
		}
		if err := r.run(ctx, t.Schema.Stream, s); err != nil {
			return err
		}
	}
	database, name, err := r.target(t)
	if err != nil {
		return err
	}
	found, err := mysql.Look(ctx, r.conn, &mysql.Table{Database: r.staged[database], Name: name})
	if err != nil {
		return err
	}
	if found == nil {
		return &fault.Error{
			Code: "ACQ-MY-072", Place: t.Schema.Stream, Err: errors.New("its table was not made, or may not be read"), Remedy: "look at the statements in the backup's manifest",
		}
	}
	k := &kept{}
	k.table, k.layout, err = keyless(found, t.Schema.Stream)
	r.tables[t.Schema.Stream] = k
	return err
}

func (r *restoration) table(stream string) (*kept, error) {
	if k := r.tables[stream]; k != nil {
		return k, nil
	}
	return nil, fault.Stop(fmt.Errorf("mysql: %q is not being restored", stream))
}

// Scan reads a table back.
func (r *restoration) Scan(ctx context.Context, stream string, each func(*record.Batch) error) error {
	k, err := r.table(stream)
	if err != nil {
		return err
	}
	return k.read(ctx, r.conn, "", each)
}

// Finish makes keys, indexes, and those links whose other table is there, and puts all tables into their places in one statement.
func (r *restoration) Finish(ctx context.Context) error {
	if err := r.run(ctx, r.place(), "SET SESSION "+loadMode); err != nil {
		return err
	}
	var last, renames []string
	for i := range r.info.Tables {
		t := &r.info.Tables[i]
		later, err := r.keys(ctx, t)
		if err != nil {
			return err
		}
		database, name, err := r.target(t)
		if err != nil {
			return err
		}
		last = append(last, later...)
		renames = append(renames, mysql.Quote(r.staged[database])+"."+mysql.Quote(name)+" TO "+mysql.Quote(database)+"."+mysql.Quote(name))
	}
	for i := range r.info.Tables {
		if err := r.links(ctx, &r.info.Tables[i]); err != nil {
			return err
		}
	}
	for _, database := range slices.Sorted(maps.Keys(r.staged)) {
		if database == r.conn.Database() {
			continue
		}
		if err := r.run(ctx, database, "CREATE DATABASE IF NOT EXISTS "+mysql.Quote(database)); err != nil {
			return err
		}
	}
	if err := r.placeSequences(ctx); err != nil {
		return err
	}
	if err := r.run(ctx, r.place(), append(last, "RENAME TABLE "+strings.Join(renames, ", "))...); err != nil {
		return err
	}
	r.placed, r.finished = false, true
	return nil
}

// keys makes the keys and indexes of a table, and the sequences that it counts by; later are its defaults that want these in their places.
func (r *restoration) keys(ctx context.Context, t *sources.SnapshotTable) (later []string, err error) {
	for _, s := range t.Definition.Finish {
		own, is := r.ofSequence(s)
		if !is {
			if own, err = r.moved(t, "ALTER", s); err != nil {
				return nil, err
			}
		}
		if counts := r.counting(own); counts != own {
			later = append(later, counts)
			continue
		}
		if err := r.run(ctx, t.Schema.Stream, own); err != nil {
			return nil, err
		}
	}
	return later, nil
}

// links makes the foreign keys of a table.
func (r *restoration) links(ctx context.Context, t *sources.SnapshotTable) error {
	for _, link := range t.Definition.Links {
		at := slices.IndexFunc(r.info.Tables, func(o sources.SnapshotTable) bool { return o.Schema.Stream == link.To })
		if at < 0 {
			continue
		}
		s, err := r.moved(t, "ALTER", link.Statement)
		if err != nil {
			return err
		}
		to, err := r.at(&r.info.Tables[at])
		if err != nil {
			return err
		}
		named := " REFERENCES " + r.info.Tables[at].Definition.Name + " "
		if outside(s, named) < 0 {
			return r.unlike(t, link.Statement)
		}
		if err := r.run(ctx, t.Schema.Stream, s[:outside(s, named)]+" REFERENCES "+to+" "+s[outside(s, named)+len(named):]); err != nil {
			return err
		}
	}
	return nil
}

// Close drops what tables were made in; those that are finished are not there any more. When the session was lost, another restore may have
// the databases by now, and drops what it finds.
func (r *restoration) Close(ctx context.Context) (err error) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	defer func() { r.source.pool.Put(ctx, r.conn, errSpent) }()
	switch {
	case !r.locked:
		return nil
	case !r.conn.IsClosed():
		err = r.drop(ctx, r.conn)
	default:
		err = r.source.with(ctx, func(c *mysql.Conn) error { return r.drop(ctx, c) })
	}
	if err != nil && r.finished {
		r.source.log.WarnContext(ctx, "the database in which tables were restored is still there; the next restore drops it", slog.String("error", err.Error()))
		return nil
	}
	return err
}

// drop drops the databases that nobody else restores in, and sequences whose tables did not follow.
func (r *restoration) drop(ctx context.Context, c *mysql.Conn) error {
	for _, q := range r.sequences {
		if !r.placed {
			break
		}
		if err := c.Exec(ctx, "DROP SEQUENCE IF EXISTS "+q.to); err != nil {
			return mysql.Explain(err, "drop "+q.to, r.place())
		}
	}
	for _, name := range slices.Sorted(maps.Values(r.staged)) {
		row, err := c.QueryRow(ctx, "SELECT GET_LOCK(?, 0)", name)
		if err == nil && row.Int(0) == 1 {
			if err = c.Exec(ctx, "DROP DATABASE IF EXISTS "+mysql.Quote(name)); err == nil {
				_, err = c.Query(ctx, "SELECT RELEASE_LOCK(?)", name)
			}
		}
		if err != nil {
			return mysql.Explain(err, "drop "+name, r.place())
		}
	}
	return nil
}
