package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var (
	_ sources.Tables    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
)

// Streams gives the tables that the settings choose, as the catalog has them now.
func (s *Source) Streams(ctx context.Context) (streams []sources.Stream, err error) {
	err = s.with(ctx, func(c *postgres.Conn) error {
		found, err := s.catalog(ctx, c)
		if err != nil {
			return err
		}
		for _, t := range found {
			layout, err := postgres.NewLayout(t, s.layoutOptions(t))
			if err != nil {
				return err
			}
			streams = append(streams, sources.Stream{Schema: layout.Schema, Rows: t.Rows, Bytes: t.Bytes})
		}
		return nil
	})
	return streams, err
}

// Describe gives the schemas of the tables as the catalog has them now.
func (s *Source) Describe(ctx context.Context) ([]*record.Schema, error) {
	streams, err := s.Streams(ctx)
	schemas := make([]*record.Schema, len(streams))
	for i, stream := range streams {
		schemas[i] = stream.Schema
	}
	return schemas, err
}

func (s *Source) layoutOptions(t *postgres.Table) postgres.LayoutOptions {
	return postgres.LayoutOptions{Stream: t.Stream(), FailUnrepresentable: s.config.Unfit == "error"}
}

// catalog asks which tables there are, and remembers it.
func (s *Source) catalog(ctx context.Context, c *postgres.Conn) ([]*postgres.Table, error) {
	found, err := postgres.ListTables(ctx, c, s.config.Tables)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]*postgres.Table, len(found))
	for _, t := range found {
		if other := listed[t.Stream()]; other != nil { // such as "sales.orders" in public, and orders in sales
			return nil, &fault.Error{
				Class: fault.Fatal, Code: "ACQ-PG-035", Place: t.Stream(), Err: fmt.Errorf("%s and %s would be the same stream", other.Quoted(), t.Quoted()),
				Remedy: "leave one of them out, with ! and its schema and name in tables",
			}
		}
		listed[t.Stream()] = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = listed
	return found, nil
}

// lookUp finds the table of a stream: as it was when the catalog was last asked, which a read makes sure of (errOutdated), or as it
// is when fresh is set or it was not there.
func (s *Source) lookUp(ctx context.Context, c *postgres.Conn, stream string, fresh bool) (*postgres.Table, error) {
	s.mu.Lock()
	t := s.listed[stream]
	s.mu.Unlock()
	if t == nil || fresh {
		if _, err := s.catalog(ctx, c); err != nil {
			return nil, err
		}
		s.mu.Lock()
		t = s.listed[stream]
		s.mu.Unlock()
	}
	if t != nil {
		return t, nil
	}
	return nil, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-PG-032", Place: stream,
		Err:    errors.New("the database has no such table, or the settings leave it out"),
		Remedy: "look at tables: in the settings of the source",
	}
}

// Split cuts the keys of a stream into parts of about rows records.
func (s *Source) Split(ctx context.Context, stream string, rows int) ([]sources.KeyRange, error) {
	parts := []sources.KeyRange{{}}
	err := s.with(ctx, func(c *postgres.Conn) error {
		t, err := s.lookUp(ctx, c, stream, true)
		if err != nil {
			return err
		}
		if same, err := ordered(ctx, c, t); err != nil || !same {
			return err
		}
		cut, err := quantiles(ctx, c, t, int((t.Rows-1)/int64(max(rows, 1))))
		if err != nil {
			return err
		}
		defer cut.release()
		for row := range cut.rows() {
			key := keyValues(cut.bounds, row)
			parts[len(parts)-1].UpTo = key
			parts = append(parts, sources.KeyRange{After: key})
		}
		return nil
	})
	return parts, err
}

// plainOrder are the types whose values acequia holds and compares as the server orders them. Texts are there under one collation.
var plainOrder = map[string]bool{ //nolint:gochecknoglobals // a constant table
	"bool": true, "int2": true, "int4": true, "int8": true, "oid": true, "xid8": true, "date": true, "timestamp": true, "timestamptz": true,
	"uuid": true, "bytea": true, "numeric": true, "text": true, "varchar": true, "name": true,
}

// ordered says whether acequia sees the keys of a table in the order that the server sees.
func ordered(ctx context.Context, c *postgres.Conn, t *postgres.Table) (bool, error) {
	if len(t.Key) == 0 {
		return false, nil
	}
	layout, err := keyLayout(t)
	if err != nil {
		return false, err
	}
	for i, name := range t.Key {
		of := &t.Column(name).Type
		number := of.Name != "numeric" || layout.Schema.Fields[i].Kind == record.Decimal // a free numeric is held as text
		if of.Schema != "pg_catalog" || !plainOrder[of.Name] || !number {
			return false, nil
		}
	}
	var odd int
	err = c.QueryRow(ctx, `
		select count(*) from pg_attribute a join pg_collation l on l.oid = a.attcollation, pg_database d
		where d.datname = current_database() and a.attrelid = $1 and a.attname = any($2)
			and not (l.collname in ('C', 'POSIX') or l.collname = 'default' and d.datlocprovider = 'c' and d.datcollate in ('C', 'POSIX'))`,
		t.OID, t.Key).Scan(&odd)
	return odd == 0, postgres.Explain(err, "look at the collation of the key of "+t.Quoted(), t.Stream())
}

func keyValues(b *record.Batch, row int) []sources.KeyValue {
	key := make([]sources.KeyValue, len(b.Schema.Key))
	for i, k := range b.Schema.Key {
		c, f := &b.Columns[k], &b.Schema.Fields[k]
		switch {
		case f.Wide():
			key[i].Wide = c.Wide[row] // never constant: it was sampled
		case f.Kind == record.String || f.Kind == record.Bytes:
			key[i].Text = string(c.Text(row))
		default:
			key[i].Int = c.Int(row)
		}
	}
	return key
}

// keyTexts gives a bound as the parameters of a statement.
func keyTexts(t *postgres.Table, key []sources.KeyValue) ([]string, error) {
	if key == nil {
		return nil, nil
	}
	layout, err := keyLayout(t)
	if err != nil {
		return nil, err
	}
	if len(key) != len(t.Key) {
		return nil, fault.Stop(fmt.Errorf("postgres: a key of %d values for the %d columns of %s", len(key), len(t.Key), t.Quoted()))
	}
	columns := make([]record.Column, len(key))
	for i, v := range key {
		switch f := &layout.Schema.Fields[i]; {
		case f.Wide():
			columns[i].Wide = []record.Int128{v.Wide}
		case f.Kind == record.String || f.Kind == record.Bytes:
			columns[i].AppendText([]byte(v.Text))
		default:
			columns[i].Ints = []int64{v.Int}
		}
	}
	b, err := record.NewBatch(layout.Schema, 1, columns, record.System{}, nil)
	if err != nil {
		return nil, fault.Stop(err)
	}
	defer b.Release()
	return layout.KeyText(b, 0), nil
}

// Scan reads a part of a stream in one snapshot.
func (s *Source) Scan(ctx context.Context, stream string, r sources.KeyRange, each func(*record.Batch) error) error {
	return s.asked(ctx, stream, func(t *postgres.Table, layout *postgres.Layout) (sql string, args []string, err error) {
		sql = "select " + layout.Select() + " from " + from(t)
		if r.After == nil && r.UpTo == nil {
			return sql, nil, nil
		}
		var p part
		if p.After, err = keyTexts(t, r.After); err != nil {
			return "", nil, err
		}
		if p.UpTo, err = keyTexts(t, r.UpTo); err != nil {
			return "", nil, err
		}
		where, args := keyRange(t, layout, p)
		return sql + where + " order by " + quotedKey(t), args, nil
	}, each)
}

// lookUpKeys is how many keys a statement looks up.
const lookUpKeys = 1000

// Lookup reads the records with the given keys.
func (s *Source) Lookup(ctx context.Context, stream string, keys *record.Batch, each func(*record.Batch) error) error {
	for lo := 0; lo < keys.Rows; lo += lookUpKeys {
		hi := min(keys.Rows, lo+lookUpKeys)
		err := s.asked(ctx, stream, func(t *postgres.Table, layout *postgres.Layout) (string, []string, error) {
			if len(t.Key) == 0 || len(keys.Schema.Fields) != len(t.Key) {
				return "", nil, fault.Stop(fmt.Errorf("postgres: keys of %d columns for the %d of %s", len(keys.Schema.Fields), len(t.Key), t.Quoted()))
			}
			lists := make([]strings.Builder, len(t.Key))
			for row := lo; row < hi; row++ {
				for i, text := range layout.KeyText(keys, row) {
					appendElement(&lists[i], text)
				}
			}
			casts, args := layout.KeyCasts(), make([]string, len(lists))
			arrays, names, values := make([]string, len(lists)), make([]string, len(lists)), make([]string, len(lists))
			for i := range lists {
				args[i] = "{" + lists[i].String() + "}"
				arrays[i] = "$" + strconv.Itoa(i+1) + "::text[]"
				names[i] = "k" + strconv.Itoa(i)
				values[i] = "k." + names[i] + casts[i] // of an array there is no array
			}
			return "select " + layout.Select() + " from " + from(t) + " where (" + quotedKey(t) + ") in (select " + strings.Join(values, ", ") +
				" from unnest(" + strings.Join(arrays, ", ") + ") k(" + strings.Join(names, ", ") + "))", args, nil
		}, each)
		if err != nil {
			return err
		}
	}
	return nil
}

// appendElement appends a text to the elements of an array as PostgreSQL writes it.
func appendElement(list *strings.Builder, text string) {
	if list.Len() > 0 {
		list.WriteByte(',')
	}
	list.WriteByte('"')
	list.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text))
	list.WriteByte('"')
}

// statement makes the SQL that reads a table, once its columns are known.
type statement func(t *postgres.Table, layout *postgres.Layout) (sql string, args []string, err error)

// asked runs a statement over a table. When the table is not as the catalog said it looks again.
func (s *Source) asked(ctx context.Context, stream string, sql statement, each func(*record.Batch) error) error {
	for fresh := false; ; fresh = true {
		err := s.with(ctx, func(c *postgres.Conn) error { return s.ask(ctx, c, stream, fresh, sql, each) })
		if fresh || !errors.Is(err, errOutdated) && !errors.Is(err, errGone) {
			return err
		}
	}
}

func (s *Source) ask(ctx context.Context, c *postgres.Conn, stream string, fresh bool, sql statement, each func(*record.Batch) error) error {
	t, err := s.lookUp(ctx, c, stream, fresh)
	if err != nil {
		return err
	}
	layout, err := postgres.NewLayout(t, s.layoutOptions(t))
	if err != nil {
		return err
	}
	text, args, err := sql(t, layout)
	if err != nil {
		return err
	}
	r, err := s.reading(ctx, c, t)
	if err != nil {
		return err
	}
	return s.read(ctx, c, r, func() error {
		d := layout.Decoder()
		hand := func() error {
			batches, err := d.Batches(r.system)
			for _, b := range batches {
				if err == nil {
					err = each(b)
				}
				b.Release()
			}
			return err
		}
		if err := c.StreamInto(ctx, text, args, d, postgres.StreamOptions{Rows: s.chunkRows, Bytes: chunkBytes, Full: hand}); err != nil {
			return err
		}
		return hand()
	})
}

// reading begins a read beside the lanes: its records are of the incarnation that the stream has now.
func (s *Source) reading(ctx context.Context, c *postgres.Conn, t *postgres.Table) (*reading, error) {
	r := &reading{table: t, source: sourceName(c.Config().Database, t)}
	if s.state == nil {
		return r, nil
	}
	kept := &table{Table: t, stream: t.Stream()}
	if _, err := s.load(ctx, kept); err != nil {
		return nil, err
	}
	r.epoch, r.log = kept.note.Epoch, kept.note.Strategy == byLog
	return r, nil
}

func sourceName(database string, t *postgres.Table) string {
	return "postgresql." + database + "." + t.Schema + "." + t.Name
}
