package mysql

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// OwnDatabase is where acequia keeps what it installs.
const OwnDatabase = "acequia"

// ListTables gives the tables whose database.name a glob matches and no glob after a ! does, in the order of their names, and the GRANT
// statements for those of them that may not be read, which are left out. No glob: all of the dsn's database. Where there are globs in among,
// these choose too.
func ListTables(ctx context.Context, c *Conn, globs, among []string) (tables []*Table, grants []string, err error) {
	if len(globs) == 0 {
		if c.Database() == "" {
			return nil, nil, &fault.Error{
				Class: fault.Fatal, Code: codeDatabase, Place: c.Host(), Err: errors.New("the dsn names no database, and tables chooses none"),
				Remedy: "write mysql://user@host:port/database, or tables: [DATABASE.TABLE]",
			}
		}
		globs = []string{escapeGlob(c.Database()) + ".*"}
	}
	all, err := relations(ctx, c, globs, among)
	if err == nil && len(all) > 0 {
		err = columns(ctx, c, all, &grants)
	}
	if err == nil && len(all) > 0 {
		err = keys(ctx, c, all)
	}
	if err != nil {
		return nil, nil, Explain(err, "list the tables", c.Host())
	}
	for _, t := range all {
		if len(t.Columns) > 0 {
			tables = append(tables, t)
		}
	}
	return tables, grants, nil
}

func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// Matches says whether the globs choose a table. One without a database is of any.
func Matches(globs []string, database, name string) (bool, error) {
	full, chosen := database+"."+name, false
	for _, glob := range globs {
		pattern, not := strings.CutPrefix(glob, "!")
		if !strings.Contains(pattern, ".") {
			pattern = "*." + pattern
		}
		ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(full, "/", "\x00")) // a / is a letter
		if err != nil {
			return false, fmt.Errorf("tables: %q: %w", glob, err)
		}
		switch {
		case ok && not:
			return false, nil
		case ok:
			chosen = true
		}
	}
	return chosen, nil
}

// Look gives a table as the catalog has it now; nil: it is not there, or may not be read.
func Look(ctx context.Context, c *Conn, t *Table) (*Table, error) {
	now := &Table{Database: t.Database, Name: t.Name, View: t.View, Engine: t.Engine, Rows: t.Rows, Bytes: t.Bytes, home: t.home}
	var grants []string
	err := columns(ctx, c, []*Table{now}, &grants)
	if err == nil && len(now.Columns) > 0 {
		err = keys(ctx, c, []*Table{now})
	}
	if err != nil {
		return nil, Explain(err, "look at "+t.Quoted(), t.Stream())
	}
	if len(now.Columns) == 0 {
		return nil, nil //nolint:nilnil // said above
	}
	return now, nil
}

// systemDatabases are the server's own, and ours.
const systemDatabases = `('mysql', 'information_schema', 'performance_schema', 'sys', '` + OwnDatabase + `')`

// RestorePrefix begins the names of databases in which tables are made again before anybody sees them.
const RestorePrefix = "acequia_restore_"

// relations gives the tables and views that the globs choose, and those of among where there are any.
func relations(ctx context.Context, c *Conn, globs, among []string) (all []*Table, err error) {
	rows, err := c.Query(ctx, `SELECT table_schema, table_name, table_type, engine, table_rows, data_length FROM information_schema.tables
		WHERE table_schema NOT IN `+systemDatabases+` AND LEFT(table_schema, ?) <> ? AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') ORDER BY table_schema, table_name`, len(RestorePrefix), RestorePrefix)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		t := &Table{Database: r.Text(0), Name: r.Text(1), View: r.Text(2) == "VIEW", Engine: r.Text(3), Rows: -1, Bytes: r.Int(5)}
		if !r.Null(4) {
			t.Rows = r.Int(4)
		}
		t.home = t.Database == c.Database()
		ok, err := Matches(globs, t.Database, t.Name)
		if ok && err == nil && len(among) > 0 {
			ok, err = Matches(among, t.Database, t.Name)
		}
		if err != nil {
			return nil, fault.Stop(err)
		}
		if ok {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *Table) int {
		return strings.Compare(a.Database+"\x00"+a.Name, b.Database+"\x00"+b.Name)
	})
	return all, nil
}

// chosen is a condition for the rows of the catalog that are of some tables.
func chosen(tables []*Table) string {
	var names []string
	for _, t := range tables {
		names = append(names, "("+Literal(t.Database)+", "+Literal(t.Name)+")")
	}
	return "(table_schema, table_name) IN (" + strings.Join(names, ", ") + ")"
}

func byName(tables []*Table) map[string]*Table {
	out := make(map[string]*Table, len(tables))
	for _, t := range tables {
		out[t.Database+"\x00"+t.Name] = t
	}
	return out
}

// columns fills in the columns of tables. A table with a column that may not be read keeps none: the catalog leaves columns out that
// the user has no right on at all, which their numbers tell.
func columns(ctx context.Context, c *Conn, tables []*Table, grants *[]string) error {
	rows, err := c.Query(ctx, `SELECT table_schema, table_name, column_name, ordinal_position, data_type, column_type, is_nullable, numeric_precision,
			numeric_scale, datetime_precision, character_set_name, character_maximum_length, extra, privileges, column_default, collation_name
		FROM information_schema.columns WHERE `+chosen(tables)+` ORDER BY table_schema, table_name, ordinal_position`)
	if err != nil {
		return err
	}
	known, denied := byName(tables), map[*Table]bool{}
	for _, r := range rows {
		t := known[r.Text(0)+"\x00"+r.Text(1)]
		if t == nil { // of a name that differs in case alone
			continue
		}
		if int(r.Int(3)) != len(t.Columns)+1 || !strings.Contains(r.Text(13), "select") {
			denied[t] = true
		}
		one := Column{Name: r.Text(2), NotNull: r.Text(6) == "NO", Type: typeOf(r)}
		extra := strings.ToUpper(r.Text(12))
		one.Generated = strings.HasSuffix(extra, " GENERATED") || strings.HasPrefix(extra, "VIRTUAL") || strings.HasPrefix(extra, "STORED") || strings.HasPrefix(extra, "PERSISTENT")
		one.Virtual = one.Generated && strings.HasPrefix(extra, "VIRTUAL")
		one.Filled = one.NotNull || one.Generated || !r.Null(14) && r.Text(14) != "NULL"
		t.Columns = append(t.Columns, one)
	}
	for _, t := range tables {
		if denied[t] || len(t.Columns) == 0 {
			t.Columns = nil
			*grants = append(*grants, "GRANT SELECT ON "+t.Quoted()+" TO the user of the dsn")
		}
	}
	return nil
}

// typeOf reads a type of the catalog.
func typeOf(r Row) Type {
	t := Type{Data: strings.ToLower(r.Text(4)), Name: r.Text(5), Precision: int(r.Int(7)), Scale: int(r.Int(8)), Fraction: int(r.Int(9)), Charset: r.Text(10), Collation: r.Text(15), Length: int(r.Int(11))}
	t.Unsigned = strings.Contains(strings.ToLower(t.Name), "unsigned")
	if t.Data == "enum" || t.Data == "set" {
		t.Labels = labels(t.Name)
	}
	return t
}

// labels reads those of enum('a','it”s').
func labels(text string) (all []string) {
	var one strings.Builder
	inside := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\'':
			if inside {
				one.WriteByte(text[i])
			}
		case inside && i+1 < len(text) && text[i+1] == '\'':
			one.WriteByte('\'')
			i++
		case inside:
			all = append(all, one.String())
			one.Reset()
			inside = false
		default:
			inside = true
		}
	}
	return all
}

// keys finds the key of each table: the primary key, else the smallest unique index over whole columns that are not null.
func keys(ctx context.Context, c *Conn, tables []*Table) error {
	rows, err := c.Query(ctx, `SELECT table_schema, table_name, index_name, column_name, nullable, sub_part FROM information_schema.statistics
		WHERE non_unique = 0 AND `+chosen(tables)+` ORDER BY table_schema, table_name, index_name <> 'PRIMARY', index_name, seq_in_index`)
	if err != nil {
		return err
	}
	type index struct {
		name    string
		columns []string
		unfit   bool
	}
	known, found := byName(tables), map[*Table][]*index{}
	for _, r := range rows {
		t := known[r.Text(0)+"\x00"+r.Text(1)]
		if t == nil {
			continue
		}
		all := found[t]
		if len(all) == 0 || all[len(all)-1].name != r.Text(2) {
			all = append(all, &index{name: r.Text(2)})
			found[t] = all
		}
		x := all[len(all)-1]
		primary := x.name == "PRIMARY"
		x.unfit = x.unfit || r.Null(3) || !primary && (r.Text(4) == "YES" || !r.Null(5)) // an expression has no column
		x.columns = append(x.columns, r.Text(3))
	}
	for t, all := range found {
		var best *index
		for _, x := range all {
			fits := !x.unfit && !slices.ContainsFunc(x.columns, func(name string) bool { return t.Column(name) == nil })
			if fits && (best == nil || best.name != "PRIMARY" && len(x.columns) < len(best.columns)) {
				best = x
			}
		}
		if best != nil {
			t.Key, t.KeyIndex = best.columns, best.name
		}
	}
	return nil
}

// Server is what the server says of itself.
type Server struct {
	Version  string // such as 10.11.19-MariaDB-log
	Flavor   Flavor
	Identity string // another one is another server; "": it does not tell
	Process  bool   // the user sees what others do
}

// Inspect asks the server.
func Inspect(ctx context.Context, c *Conn) (Server, error) {
	s := Server{Version: c.GetServerVersion(), Flavor: c.Flavor}
	rows, err := c.Query(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')")
	if err != nil {
		return s, Explain(err, "ask the server for its settings", c.Host())
	}
	for _, r := range rows {
		s.Identity = r.Text(1)
	}
	s.Process, err = sees(ctx, c)
	return s, err
}

// sees says whether the user sees the transactions of others.
func sees(ctx context.Context, c *Conn) (bool, error) {
	_, err := c.Query(ctx, "SELECT 1 FROM information_schema.innodb_trx LIMIT 1")
	const needsProcess = 1227
	if Said(err) == needsProcess {
		return false, nil
	}
	return err == nil, Explain(err, "ask for the transactions that are under way", c.Host())
}

// Number gives the numbers of the version.
func (s Server) Number() (major, minor int) {
	parts := strings.SplitN(strings.TrimPrefix(s.Version, "5.5.5-"), ".", 3) // MariaDB has said so to replicas of MySQL
	if len(parts) < 2 {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[0])
	minor, _ = strconv.Atoi(parts[1])
	return major, minor
}
