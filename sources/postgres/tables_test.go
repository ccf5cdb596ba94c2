package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// rowsOf gathers the rows of a scan as JSON.
func rowsOf(t *testing.T, s *postgres.Source, stream string, r sources.KeyRange) []string {
	t.Helper()
	var rows []string
	err := s.Scan(t.Context(), stream, r, func(b *record.Batch) error {
		for row := range b.Rows {
			rows = append(rows, string(b.AppendJSON(nil, row)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestPartsOfATableAreAllOfIt(t *testing.T) {
	t.Parallel()
	keys := map[string]string{
		"int8":                        "i::int8 * 3 - 20000",
		"int2":                        "i - 15000",
		"numeric(30,3)":               "(i - 15000) / 7.0",
		"uuid":                        "md5(i::text)::uuid",
		"bytea":                       "decode(md5(i::text), 'hex')",
		"date":                        "date '2000-01-01' + i - 15000",
		"timestamptz":                 "timestamptz '2000-01-01' + (i - 15000) * interval '1 hour 1 us'",
		"timestamp":                   "timestamp '1990-01-01' - i * interval '1 s'",
		`text collate "C"`:            `chr(33 + i % 90) || 'ñ"\' || i`,
		`varchar(40) collate "POSIX"`: "repeat('x', i % 7) || i",
		"name":                        "'n' || i",
	}
	var sql []string
	types := []string{}
	for typ, expr := range keys {
		table := fmt.Sprintf("t%d", len(types))
		types = append(types, typ)
		sql = append(sql, fmt.Sprintf(`create table %s (n int, "The Key" %s not null, part int not null, primary key ("The Key", part))`, table, typ),
			fmt.Sprintf("insert into %s select i, %s, i %% 3 from generate_series(1, 6000) i", table, expr), "analyze "+table)
	}
	s := open(t, postgres.Config{DSN: config.Secret(server.Database(t, sql...))}, nil)
	for i, typ := range types {
		stream := fmt.Sprintf("t%d", i)
		parts, err := s.Split(t.Context(), stream, 600)
		if err != nil {
			t.Fatal(err)
		}
		if len(parts) < 5 || len(parts) > 10 || parts[0].After != nil || parts[len(parts)-1].UpTo != nil {
			t.Errorf("%s: %d parts", typ, len(parts))
		}
		var got []string
		for _, p := range parts {
			rows := rowsOf(t, s, stream, p)
			if len(rows) < 30 || len(rows) > 2400 {
				t.Errorf("%s: a part of %d rows", typ, len(rows))
			}
			got = append(got, rows...)
		}
		want := rowsOf(t, s, stream, sources.KeyRange{})
		slices.Sort(got)
		slices.Sort(want)
		if len(want) != 6000 || !slices.Equal(got, want) {
			t.Errorf("%s: %d rows in parts, %d in all", typ, len(got), len(want))
		}
	}
}

// A part's rows come in the order of the key as acequia compares it, or there is one part.
func TestKeysInAnOrderOfTheServersAreOnePart(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Config{DSN: config.Secret(server.Database(t,
		`create table german (k text collate "de-x-icu" primary key)`, `insert into german select i::text from generate_series(1, 3000) i`,
		`create table padded (k char(10) collate "C" primary key)`, `insert into padded select i::text from generate_series(1, 3000) i`,
		`create table free (k numeric primary key)`, `insert into free select i from generate_series(1, 3000) i`,
		`create type mood as enum ('sad', 'ok')`, `create table moods (k mood, i int, primary key (k, i))`,
		`insert into moods select 'ok', i from generate_series(1, 3000) i`,
		`create table keyless (k int)`, `insert into keyless select i from generate_series(1, 3000) i`,
		`create view seen as select * from free`, `create table "Empty" (k int primary key)`, `analyze`,
	))}, nil)
	for _, stream := range []string{"german", "padded", "free", "moods", "keyless", "seen", "Empty"} {
		parts, err := s.Split(t.Context(), stream, 500)
		if err != nil || len(parts) != 1 || parts[0].After != nil || parts[0].UpTo != nil {
			t.Error(stream, len(parts), err)
		}
		if n := len(rowsOf(t, s, stream, parts[0])); n != 3000 && stream != "Empty" {
			t.Error(stream, n)
		}
	}
}

func TestRecordsAreLookedUpByTheirKeys(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Config{DSN: config.Secret(server.Database(t,
		`create table kept (v int, k text, d numeric(20,2), primary key (k, d))`,
		`insert into kept select i, case when i % 2 = 0 then 'a "quoted", \ {key} ' else '' end || i, i / 4.0 from generate_series(1, 5000) i`))}, newNotes())
	schema, err := record.NewSchema("kept", []string{"k", "d"}, record.Field{Name: "k", Kind: record.String}, record.Field{Name: "d", Kind: record.Decimal, Precision: 20, Scale: 2})
	if err != nil {
		t.Fatal(err)
	}
	var columns [2]record.Column
	for i := 1; i <= 6000; i += 2 { // a thousand are not there
		text := fmt.Sprint(i + 1)
		if (i+1)%2 == 0 {
			text = `a "quoted", \ {key} ` + text
		}
		columns[0].AppendText([]byte(text))
		columns[1].Wide = append(columns[1].Wide, record.Int128{Lo: uint64((i + 1) * 25)})
	}
	keys, err := record.NewBatch(schema, 3000, columns[:], record.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = s.Lookup(t.Context(), "kept", keys, func(b *record.Batch) error {
		n += b.Rows
		for row := range b.Rows {
			if doc := string(b.AppendJSON(nil, row)); !strings.Contains(doc, `{key} `) {
				t.Error(doc)
			}
			if v := b.System.Versions.At(row); v.Lo == 0 {
				t.Error("a record without a version")
			}
		}
		return nil
	})
	if err != nil || n != 2500 {
		t.Error(n, err)
	}
}

// A key can be an array, of which there is no array.
func TestKeysThatAreArraysAreLookedUp(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Config{DSN: config.Secret(server.Database(t, `create table kept (k int[] primary key, v int)`,
		`insert into kept select array[i, null], i from generate_series(1, 10) i`))}, newNotes())
	schema, err := record.NewSchema("kept", []string{"k"}, record.Field{Name: "k", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	var column record.Column
	column.AppendText([]byte("{7,NULL}"))
	keys, err := record.NewBatch(schema, 1, []record.Column{column}, record.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	err = s.Lookup(t.Context(), "kept", keys, func(b *record.Batch) error {
		for row := range b.Rows {
			rows = append(rows, string(b.AppendJSON(nil, row)))
		}
		return nil
	})
	if err != nil || fmt.Sprint(rows) != `[{"k":"{7,NULL}","v":7}]` {
		t.Error(rows, err)
	}
}

// Two tables can have names that make one stream; they are refused, for each would be taken for the other made anew.
func TestTwoTablesOfOneStream(t *testing.T) {
	t.Parallel()
	s := open(t, postgres.Config{Tables: []string{"*.*"}, DSN: config.Secret(server.Database(t, `create schema sales`, `create table sales.orders (k int primary key)`,
		`create table public."sales.orders" (k int primary key)`))}, newNotes())
	if _, err := s.Lanes(t.Context()); fault.Code(err) != "ACQ-PG-035" || !strings.Contains(err.Error(), `"sales"."orders"`) {
		t.Error("two tables of one stream:", err)
	}
}

// The columns are those of the moment of the read, however long ago the catalog was asked.
func TestAScanSeesTheColumnsOfItsMoment(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `create table moved (k int primary key, v int)`, `insert into moved values (1, 2)`)
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, nil)
	for _, step := range []struct{ sql, want string }{
		{`select 1`, `{"k":1,"v":2}`},
		{`alter table moved add w text default 'new'`, `{"k":1,"v":2,"w":"new"}`},
		{`alter table moved alter v type bigint`, `{"k":1,"v":2,"w":"new"}`},
		{`alter table moved rename v to u`, `{"k":1,"u":2,"w":"new"}`},
		{`alter table moved drop w`, `{"k":1,"u":2}`},
		{`drop table moved; create table moved (v text, k int primary key); insert into moved values ('x', 7)`, `{"v":"x","k":7}`},
	} {
		server.Exec(t, dsn, step.sql)
		if got := strings.Join(rowsOf(t, s, "moved", sources.KeyRange{}), "\n"); got != step.want {
			t.Errorf("after %s: %s, want %s", step.sql, got, step.want)
		}
	}
}
