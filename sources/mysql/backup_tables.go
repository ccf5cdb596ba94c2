package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

// definer asks the server for what makes tables again.
type definer struct {
	conn *mysql.Conn
	info *sources.SnapshotInfo
	kept []string // sequences that are made again
}

func (d *definer) notKept(format string, args ...any) {
	d.info.NotKept = append(d.info.NotKept, fmt.Sprintf(format, args...))
}

// name is what statements call a table: those of the dsn's database without it, so that they can be made again in another.
func (d *definer) name(database, table string) string {
	if database == d.conn.Database() {
		return mysql.Quote(table)
	}
	return mysql.Quote(database) + "." + mysql.Quote(table)
}

// table takes apart what SHOW CREATE TABLE says: columns and what holds from the first row on, keys and indexes that are made when the rows
// are there, and the links to other tables.
func (d *definer) table(ctx context.Context, t *mysql.Table) (out sources.Definition, err error) {
	out = sources.Definition{Name: d.name(t.Database, t.Name), Key: t.Key}
	counted, err := d.columns(ctx, t, &out)
	if err != nil {
		return out, err
	}
	row, err := d.conn.QueryRow(ctx, "SHOW CREATE TABLE "+t.Quoted())
	if err != nil {
		return out, mysql.Explain(err, "look at the definition of "+t.Quoted(), t.Stream())
	}
	text, ok := strings.CutPrefix(row.Text(1), "CREATE TABLE "+mysql.Quote(t.Name)+" (")
	var items []string
	if ok {
		items, text, ok = split(text)
	}
	if !ok {
		return out, &fault.Error{
			Code: "ACQ-MY-075", Place: t.Stream(), Err: errors.New("what SHOW CREATE TABLE says of it is not understood"), Remedy: "leave it out, with ! and its name in tables",
		}
	}
	// a column that counts by itself needs a key from the beginning
	later := !counted || t.KeyIndex == "PRIMARY" && d.counts(&out, t.Key[0])
	var first, keys, single []string
	for _, item := range items {
		switch kind := kindOf(item); {
		case kind == foreignKey:
			if err := d.link(t, item, &out); err != nil {
				return out, err
			}
		case kind == manyKey && later:
			keys = append(keys, "ADD "+item)
		case kind == oneKey && later:
			single = append(single, "ADD "+item)
		default:
			if item, err = d.plain(ctx, t, item, &out); err != nil {
				return out, err
			}
			first = append(first, item)
		}
	}
	out.Create = []string{"CREATE TABLE " + out.Name + " (\n  " + strings.Join(first, ",\n  ") + "\n)" + text}
	if len(keys) > 0 {
		out.Finish = append(out.Finish, "ALTER TABLE "+out.Name+" "+strings.Join(keys, ", "))
	}
	for _, one := range single { // InnoDB makes one at a time
		out.Finish = append(out.Finish, "ALTER TABLE "+out.Name+" "+one)
	}
	if strings.Contains(text, "WITH SYSTEM VERSIONING") {
		d.notKept("the history of %s", t.Quoted())
	}
	return out, nil
}

// autoIncrement marks the default of a column that counts by itself in what is kept of it.
const autoIncrement = "auto_increment"

func (d *definer) counts(out *sources.Definition, column string) bool {
	return slices.ContainsFunc(out.Columns, func(c sources.ColumnDefinition) bool { return c.Name == column && c.Default == autoIncrement })
}

// columns notes them as the catalog has them; counted: one counts by itself.
func (d *definer) columns(ctx context.Context, t *mysql.Table, out *sources.Definition) (counted bool, err error) {
	rows, err := d.conn.Query(ctx, `SELECT column_name, column_type, is_nullable, column_default, extra, generation_expression FROM information_schema.columns
		WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position`, t.Database, t.Name)
	if err != nil {
		return false, mysql.Explain(err, "look at the columns of "+t.Quoted(), t.Stream())
	}
	for _, r := range rows {
		column := t.Column(r.Text(0))
		if column == nil {
			continue
		}
		c := sources.ColumnDefinition{Name: r.Text(0), Type: r.Text(1), Nullable: r.Text(2) == "YES", Default: r.Text(3), Computed: column.Generated}
		if strings.Contains(strings.ToLower(r.Text(4)), autoIncrement) {
			c.Default, counted = autoIncrement, true
		}
		if expression := strings.ToUpper(r.Text(5)); expression == "ROW START" || expression == "ROW END" {
			return false, &fault.Error{
				Code: "ACQ-MY-076", Place: t.Stream() + ", column " + c.Name, Err: errors.New("its values are the times at which the server wrote the row, and a restore writes it at another"),
				Remedy: "leave the table out, with ! and its name in tables, or let it be versioned without columns of its own",
			}
		}
		out.Columns = append(out.Columns, c)
	}
	return counted, nil
}

// plain gives a line of CREATE TABLE. A default that counts by a SEQUENCE is set when that is there; where it cannot be made again it is left
// out, and said. The values are there in any case.
func (d *definer) plain(ctx context.Context, t *mysql.Table, item string, out *sources.Definition) (string, error) {
	for i := range out.Columns {
		c := &out.Columns[i]
		name := mysql.Quote(c.Name) + " "
		if outside(c.Default, nextOf) < 0 || !strings.HasPrefix(item, name) {
			continue
		}
		item = name + strings.Replace(strings.TrimPrefix(item, name), " DEFAULT "+c.Default, "", 1)
		counts, ok, err := d.countsBy(ctx, t, c, out.Name)
		if err != nil {
			return "", err
		}
		if !ok {
			d.notKept("default of %s.%s: it calls %s", t.Quoted(), mysql.Quote(c.Name), c.Default)
			c.Default = ""
		}
		out.Finish = append(out.Finish, counts...)
	}
	return item, nil
}

// link makes the statement of a foreign key.
func (d *definer) link(t *mysql.Table, item string, out *sources.Definition) error {
	const before = " REFERENCES "
	at := outside(item, before)
	if at >= 0 {
		if parts, rest := identifiers(item[at+len(before):]); len(parts) > 0 && len(parts) < 3 {
			to := mysql.Table{Database: t.Database, Name: parts[len(parts)-1]}
			if len(parts) == 2 {
				to.Database = parts[0]
			}
			stream := to.Name
			if to.Database != d.conn.Database() {
				stream = to.Database + "." + to.Name
			}
			out.Links = append(out.Links, sources.Link{
				To: stream, Statement: "ALTER TABLE " + out.Name + " ADD " + item[:at] + before + d.name(to.Database, to.Name) + rest,
			})
			return nil
		}
	}
	return &fault.Error{Code: "ACQ-MY-075", Place: t.Stream(), Err: fmt.Errorf("its foreign key is not understood: %s", item), Remedy: "leave the table out, with ! and its name in tables"}
}

// rest notes what is not kept of the tables and of their databases.
func (d *definer) rest(ctx context.Context, tables []*mysql.Table) error {
	var names, databases []string
	for _, t := range tables {
		names = append(names, "("+mysql.Literal(t.Database)+", "+mysql.Literal(t.Name)+")")
		if one := mysql.Literal(t.Database); !slices.Contains(databases, one) {
			databases = append(databases, one)
		}
	}
	in := " IN (" + strings.Join(databases, ", ") + ")"
	rows, err := d.conn.Query(ctx, `SELECT CONCAT('trigger ', trigger_name, ' of ', event_object_schema, '.', event_object_table) FROM information_schema.triggers
			WHERE trigger_name NOT LIKE 'acequia%' AND (event_object_schema, event_object_table) IN (`+strings.Join(names, ", ")+`)
		UNION ALL SELECT CONCAT(COUNT(*), ' procedures and functions of ', routine_schema) FROM information_schema.routines WHERE routine_schema`+in+` GROUP BY routine_schema
		UNION ALL SELECT CONCAT(COUNT(*), ' events of ', event_schema) FROM information_schema.events WHERE event_schema`+in+` GROUP BY event_schema
		UNION ALL SELECT CONCAT('sequence ', table_schema, '.', table_name) FROM information_schema.tables WHERE table_type = 'SEQUENCE' AND table_schema`+in+` ORDER BY 1`)
	if err != nil {
		return mysql.Explain(err, "ask what is not kept", d.info.Database)
	}
	for _, r := range rows {
		if name, ok := strings.CutPrefix(r.Text(0), "sequence "); !ok || !slices.Contains(d.kept, name) {
			d.info.NotKept = append(d.info.NotKept, r.Text(0))
		}
	}
	return nil
}
