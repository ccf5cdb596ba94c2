package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Reading reads a table of the warehouse back, as records of its stream. It is for one goroutine at a time.
type Reading struct {
	LeftOut []string // columns of the table that the stream does not have now

	conn   *postgres.Conn
	stream string
	table  *postgres.Table // nil: the warehouse has none yet
	key    []record.Field
	layout *postgres.Layout
	json   map[string]*record.Schema // of columns that are documents: the one column
}

// Read opens the table of a stream, whose columns are those of out, and texts that stand for what a column cannot hold.
func (c *Config) Read(ctx context.Context, out *record.Schema) (_ *Reading, err error) {
	conn, err := postgres.Connect(ctx, c.options("acequia verify"))
	if err != nil {
		return nil, err
	}
	r := &Reading{conn: conn, stream: out.Stream, json: map[string]*record.Schema{}}
	for _, k := range out.Key {
		r.key = append(r.key, out.Fields[k])
	}
	v := &view{tables: map[string]known{}}
	if err = v.readMade(ctx, conn, c.SchemaName()); err == nil {
		if k, ok := v.tables[c.TableOf(out.Stream)]; ok {
			err = r.open(ctx, c, out, &k)
		}
	}
	if err != nil {
		return nil, errors.Join(explain(err, "look at the warehouse", out.Stream), conn.Close(context.WithoutCancel(ctx)))
	}
	return r, nil
}

// open finds the columns that are read.
func (r *Reading) open(ctx context.Context, c *Config, out *record.Schema, k *known) error {
	name := c.TableOf(out.Stream)
	if _, _, err := k.fits(pgx.Identifier{c.SchemaName(), name}.Sanitize(), out); err != nil {
		return err
	}
	found, err := postgres.ListTables(ctx, r.conn, []string{literal(c.SchemaName()) + "." + literal(name)})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return postgres.Forbidden(name, errors.New("the role may not read the table"), []string{"acequia check FILE --connect tells the GRANT"})
	}
	r.table = found[0]
	r.table.Key = out.KeyNames()
	for _, f := range k.columns {
		of, raw := strings.CutSuffix(f.Name, gather.RawSuffix)
		if out.Index(f.Name) < 0 && (!raw || out.Index(of) < 0) {
			r.LeftOut = append(r.LeftOut, f.Name)
		}
		if !postgres.InJSON(&f) {
			continue
		}
		if r.json[f.Name], err = record.NewSchema(out.Stream, nil, f); err != nil {
			return err
		}
	}
	r.table.Columns = slices.DeleteFunc(r.table.Columns, func(col postgres.Column) bool {
		return slices.Contains(r.LeftOut, col.Name) || !slices.ContainsFunc(k.columns, func(f record.Field) bool { return f.Name == col.Name })
	})
	r.layout, err = postgres.NewLayout(r.table, postgres.LayoutOptions{Stream: out.Stream})
	return err
}

// literal makes a pattern that matches a name alone.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// readMade looks at the tables of a schema; without books there are none.
func (v *view) readMade(ctx context.Context, c *postgres.Conn, space string) error {
	var made bool
	if err := c.QueryRow(ctx, "SELECT to_regclass('acequia.tables') IS NOT NULL").Scan(&made); err != nil || !made {
		return err
	}
	return v.readTables(ctx, c, space)
}

// Close ends the connection.
func (r *Reading) Close(ctx context.Context) error { return r.conn.Close(ctx) }

// Scan gives the rows of a range of keys as they are now, in one snapshot. A batch is the callee's during the call.
func (r *Reading) Scan(ctx context.Context, part sources.KeyRange, each func(*record.Batch) error) error {
	if r.table == nil {
		return nil
	}
	var where, args []string
	for _, bound := range []struct {
		how    string
		values []sources.KeyValue
	}{{">", part.After}, {"<=", part.UpTo}} {
		if bound.values == nil {
			continue
		}
		casts, values := r.layout.KeyCasts(), make([]string, len(bound.values))
		for i, v := range bound.values {
			args = append(args, keyText(&r.key[i], v))
			values[i] = fmt.Sprintf("$%d::text%s", len(args), casts[i])
		}
		where = append(where, fmt.Sprintf("(%s) %s (%s)", quoted(r.table.Key, ""), bound.how, strings.Join(values, ", ")))
	}
	sql := "SELECT " + r.layout.Select() + " FROM " + r.table.Quoted()
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	return r.read(ctx, sql, args, each)
}

// keyText gives the value of a bound as a cast takes it.
func keyText(f *record.Field, v sources.KeyValue) string {
	if f.Kind == record.Bytes {
		return fmt.Sprintf(`\x%x`, v.Text)
	}
	c := record.Constant(v.Text)
	c.Ints = []int64{v.Int}
	return string(record.AppendText(nil, f, &c, 0))
}

// lookUpKeys is how many keys one statement looks up.
const lookUpKeys = 1000

// Lookup gives the rows with the given keys as they are now. keys has the key's columns, in key order.
func (r *Reading) Lookup(ctx context.Context, keys *record.Batch, each func(*record.Batch) error) error {
	if r.table == nil {
		return nil
	}
	casts, n := r.layout.KeyCasts(), len(r.table.Key)
	names, arrays, values := make([]string, n), make([]string, n), make([]string, n)
	for i := range n {
		names[i], arrays[i] = fmt.Sprintf("k%d", i), fmt.Sprintf("$%d::text[]", i+1)
		values[i] = "k." + names[i] + casts[i]
	}
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE (%s) IN (SELECT %s FROM unnest(%s) k(%s))", r.layout.Select(), r.table.Quoted(),
		quoted(r.table.Key, ""), strings.Join(values, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "))
	for lo := 0; lo < keys.Rows; lo += lookUpKeys {
		lists := make([][]string, n)
		for row := lo; row < min(keys.Rows, lo+lookUpKeys); row++ {
			for i, text := range r.layout.KeyText(keys, row) {
				lists[i] = append(lists[i], `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)+`"`)
			}
		}
		args := make([]string, n)
		for i := range lists {
			args[i] = "{" + strings.Join(lists[i], ",") + "}"
		}
		if err := r.read(ctx, sql, args, each); err != nil {
			return err
		}
	}
	return nil
}

const (
	rowsOfBatch  = 8192
	bytesOfBatch = 4 << 20
)

// read runs a statement and hands its rows over as records.
func (r *Reading) read(ctx context.Context, sql string, args []string, each func(*record.Batch) error) error {
	d := r.layout.Decoder()
	give := func() error {
		batches, err := d.Batches(func(int, *record.System) {})
		for _, b := range batches {
			if err == nil {
				err = r.give(b, each)
			}
			b.Release()
		}
		return err
	}
	err := r.conn.StreamInto(ctx, sql, args, d, postgres.StreamOptions{Rows: rowsOfBatch, Bytes: bytesOfBatch, Full: give})
	if err != nil {
		return explain(err, "read "+r.table.Quoted(), r.stream)
	}
	return give()
}

// give hands a batch over, with its documents as what they were made of.
func (r *Reading) give(b *record.Batch, each func(*record.Batch) error) error {
	if len(r.json) == 0 {
		return each(b)
	}
	fields, columns := slices.Clone(b.Schema.Fields), slices.Clone(b.Columns)
	for i := range fields {
		schema := r.json[fields[i].Name]
		if schema == nil {
			continue
		}
		built := record.NewBuilder(schema, b.Rows)
		for row := range b.Rows {
			if !b.Columns[i].IsValid(row) {
				built.Null(0)
				built.Next()
				continue
			}
			doc := append(record.AppendJSONString([]byte{'{'}, fields[i].Name), ':')
			if err := built.AppendJSON(append(append(doc, b.Columns[i].Text(row)...), '}')); err != nil {
				return &fault.Error{
					Class: fault.Fatal, Code: codeMisfit, Place: r.stream + ", column " + fields[i].Name, Err: fmt.Errorf("a document is not what the column is made of: %w", err),
					Remedy: "somebody has changed the row: acequia sync reads it again",
				}
			}
		}
		fields[i], columns[i] = schema.Fields[0], built.Batch(nil).Columns[0]
	}
	schema, err := record.NewSchema(b.Schema.Stream, b.Schema.KeyNames(), fields...)
	if err != nil {
		return err
	}
	made := b.With(schema, columns)
	defer made.Release()
	return each(made)
}
