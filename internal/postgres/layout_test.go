package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// fields writes the fields of a schema as one text.
func fields(s *record.Schema) string {
	var all []string
	for _, f := range s.Fields {
		text := f.Name + " " + f.TypeName()
		if !f.Nullable {
			text += "!"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// TestTablesChange follows a table through changes: what its stream had is kept.
func TestTablesChange(t *testing.T) {
	t.Parallel()
	const table = "CREATE TABLE t (id int4 PRIMARY KEY, n int4 NOT NULL, f float4, d numeric(10,2), body varchar(10), at timestamp, tags text[])"
	for name, c := range map[string]struct {
		change string
		want   string // the fields, or the code of the error
		says   string
	}{
		"nothing":                 {"SELECT 1", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list", ""},
		"added":                   {"ALTER TABLE t ADD c bool NOT NULL DEFAULT true", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list, c bool", ""},
		"dropped":                 {"ALTER TABLE t DROP f", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list", ""},
		"renamed":                 {"ALTER TABLE t RENAME f TO g", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list, g float32", ""},
		"moved":                   {"ALTER TABLE t DROP n; ALTER TABLE t ADD n int4", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list", ""},
		"widened":                 {"ALTER TABLE t ALTER n TYPE int8, ALTER f TYPE float8, ALTER d TYPE numeric(20,4), ALTER body TYPE text", "id int32!, n int64, f float64, d decimal(20,4), body string, at local_timestamp, tags list", ""},
		"narrowed":                {"ALTER TABLE t ALTER d TYPE numeric(6,1), ALTER n TYPE int2", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list", ""},
		"scale for digits":        {"ALTER TABLE t ALTER d TYPE numeric(10,4)", "id int32!, n int32, f float32, d decimal(12,4), body string, at local_timestamp, tags list", ""},
		"NOT NULL dropped":        {"ALTER TABLE t ALTER n DROP NOT NULL", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list", ""},
		"widened beyond":          {"ALTER TABLE t ALTER d TYPE numeric(39,2)", "ACQ-PG-023", "its type became numeric(39,2), which is string, and was decimal(10,2)"},
		"no room for both":        {"ALTER TABLE t ALTER d TYPE numeric(38,0)", "ACQ-PG-023", "was decimal(10,2)"},
		"number to text":          {"ALTER TABLE t ALTER n TYPE text", "ACQ-PG-023", "column n: its type became text, which is string, and was int32"},
		"zone added":              {"ALTER TABLE t ALTER at TYPE timestamptz", "ACQ-PG-023", "was local_timestamp"},
		"elements changed":        {"ALTER TABLE t ALTER tags TYPE int[] USING '{1}'", "ACQ-PG-023", "became integer[]"},
		"key widened":             {"ALTER TABLE t ALTER id TYPE int8", "id int64!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list", ""},
		"key changed":             {"ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, n)", "ACQ-PG-024", "the key was (id) and is (id, n)"},
		"key dropped":             {"ALTER TABLE t DROP CONSTRAINT t_pkey", "ACQ-PG-024", "and is ()"},
		"dropped and made anew":   {"ALTER TABLE t DROP n; ALTER TABLE t ADD n text", "ACQ-PG-023", "was int32"},
		"named like a raw column": {"ALTER TABLE t ADD at__raw int4", "id int32!, n int32, f float32, d decimal(10,2), body string, at local_timestamp, tags list, at__raw int32", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReading(t, table, "INSERT INTO t VALUES (1, 2, 0.1, 3.5, 'x', '2026-01-02', '{a,b}')")
			server.Exec(t, r.dsn, c.change)
			l, err := postgres.NewLayout(listOne(t, r.conn, "t"), postgres.LayoutOptions{Kept: r.layout.Schema})
			if strings.HasPrefix(c.want, "ACQ") {
				if fault.Code(err) != c.want || !strings.Contains(err.Error(), c.says) || fault.Of(err) != fault.Fatal {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fields(l.Schema); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			binary, text := l.Decoder(), l.Decoder()
			if err := r.conn.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM t", nil, binary, postgres.StreamOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, values := range printed(t, r.conn, "SELECT * FROM t") {
				if err := text.Text(values); err != nil {
					t.Fatal(err)
				}
			}
			if a, b := lines(only(t, binary)), lines(only(t, text)); a != b || !strings.HasPrefix(a, `{"id":1,"n":`) {
				t.Errorf("binary %stext   %s", a, b)
			}
		})
	}
}

// TestRawColumns come when they are needed, stay, and are known again.
func TestRawColumns(t *testing.T) {
	t.Parallel()
	r := newReading(t, "CREATE TABLE t (id int4 PRIMARY KEY, at timestamptz, d numeric(10,2), \"at__raw\" int4)")
	d := r.layout.Decoder()
	read := func(values string) *record.Batch {
		t.Helper()
		sql := "SELECT " + r.layout.Select() + " FROM (VALUES " + values + ") v (id, at, d, at__raw)"
		if err := r.conn.StreamInto(t.Context(), sql, nil, d, postgres.StreamOptions{}); err != nil {
			t.Fatal(err)
		}
		return only(t, d)
	}
	for _, c := range []struct{ values, want string }{
		{"(1, '2026-01-01'::timestamptz, 1.5::numeric(10,2), 7)", `{"id":1,"at":"2026-01-01T00:00:00.000000Z","d":"1.50","at__raw":7}` + "\n"},
		{"(2, NULL::timestamptz, 'NaN'::numeric(10,2), 7)", `{"id":2,"at":null,"d":null,"at__raw":7,"d__raw":"NaN"}` + "\n"},
		{"(3, '-infinity'::timestamptz, 1::numeric(10,2), NULL::int4), (4, '2026-01-01', 'NaN', NULL)", `{"id":3,"at":null,"d":"1.00","at__raw":null,"at__raw_":"-infinity","d__raw":null}
{"id":4,"at":"2026-01-01T00:00:00.000000Z","d":null,"at__raw":null,"at__raw_":null,"d__raw":"NaN"}` + "\n"},
		{"(6, '2026-01-01'::timestamptz, 1.555::numeric, NULL::int4)", `{"id":6,"at":"2026-01-01T00:00:00.000000Z","d":null,"at__raw":null,"at__raw_":null,"d__raw":"1.555"}` + "\n"},
		{"(5, '2026-01-01'::timestamptz, 1::numeric(10,2), NULL::int4)", `{"id":5,"at":"2026-01-01T00:00:00.000000Z","d":"1.00","at__raw":null,"at__raw_":null,"d__raw":null}` + "\n"},
	} {
		if diff := cmp.Diff(c.want, lines(read(c.values))); diff != "" {
			t.Error(diff)
		}
	}
	again, err := postgres.NewLayout(listOne(t, r.conn, "t"), postgres.LayoutOptions{Kept: d.Schema()})
	if err != nil || again.Schema.ID() != d.Schema().ID() || again.Decoder().Schema() != again.Schema {
		t.Errorf("%s, %v", fields(again.Schema), err)
	}
}

// TestRowsThatCannotBeHeld are refused one by one, and the others come; without a taker of refusals they are errors.
func TestRowsThatCannotBeHeld(t *testing.T) {
	t.Parallel()
	r := newReading(t, "CREATE TABLE t (id numeric(6,0) PRIMARY KEY, a int4, d numeric(6,2))",
		"INSERT INTO t SELECT i, i, CASE WHEN i % 100 = 7 THEN 'NaN'::numeric ELSE i END FROM generate_series(0, 999) i", "INSERT INTO t VALUES ('NaN', -1, 5)")
	l, err := postgres.NewLayout(listOne(t, r.conn, "t"), postgres.LayoutOptions{FailUnrepresentable: true})
	if err != nil {
		t.Fatal(err)
	}
	d := l.Decoder()
	var refused []string
	sql := "SELECT " + l.Select() + " FROM t ORDER BY a"
	o := postgres.StreamOptions{Refused: func(r *gather.RowError) error { refused = append(refused, r.Column+" "+string(r.Raw)); return nil }}
	if err := r.conn.StreamInto(t.Context(), sql, nil, d, o); err != nil {
		t.Fatal(err)
	}
	b := only(t, d)
	if len(refused) != 11 || b.Rows != 990 || refused[0] != `id {"id":"NaN","a":"-1","d":"5.00"}` || refused[10] != `d {"id":"907","a":"907","d":"NaN"}` {
		t.Errorf("%d rows, %d refused: %q", b.Rows, len(refused), refused)
	}
	sum := int64(0)
	for row := range b.Rows {
		sum += b.Columns[1].Int(row)
		if b.Columns[2].Int(row) != 100*b.Columns[1].Int(row) || b.Columns[0].Int(row) != b.Columns[1].Int(row) {
			t.Fatalf("row %d is mixed up: %s", row, b.AppendJSON(nil, row))
		}
	}
	if want := int64(999*1000/2 - 10*(7+907)/2); sum != want || b.Columns[2].Valid != nil && b.Columns[2].Nulls(0, b.Rows) > 0 {
		t.Errorf("the sum is %d, want %d", sum, want)
	}
	err = r.conn.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM t WHERE a = 107", nil, d, postgres.StreamOptions{})
	row, ok := errors.AsType[*gather.RowError](err)
	if !ok || row.Key[0] != "107" || fault.Of(err) != fault.Poison || !strings.Contains(err.Error(), "t, key 107, column d") {
		t.Error(err)
	}
	err = d.Text([]postgres.Value{{Kind: 't', Data: []byte("5")}, {Kind: 't', Data: []byte("6")}, {Kind: 't', Data: []byte("NaN")}})
	if fault.Code(err) != "ACQ-PG-021" || d.Count != 0 {
		t.Errorf("%v, %d rows", err, d.Count)
	}
	if err := d.Text([]postgres.Value{{Kind: 't', Data: []byte("5")}, {Kind: 'u'}, {Kind: 'n'}}); err != nil {
		t.Fatal(err)
	}
	if b := only(t, d); b.Rows != 1 || !b.Columns[1].IsAbsent(0) || b.Columns[2].IsAbsent(0) || b.Columns[2].IsValid(0) {
		t.Error("a column that was not sent is not absent")
	}
}

// TestKeysThatCannotBeHeld: a record has no key without a value, so that its row is refused, whatever is done with other columns. Those
// of the rows beside it stay with their rows.
func TestKeysThatCannotBeHeld(t *testing.T) {
	t.Parallel()
	r := newReading(t, "CREATE TABLE t (d numeric(6,2), id date PRIMARY KEY)",
		"INSERT INTO t SELECT CASE WHEN i % 2 = 0 THEN 'NaN'::numeric ELSE i END, date '2026-01-01' + i FROM generate_series(1, 9) i", "INSERT INTO t VALUES ('NaN', 'infinity')")
	d, refused := r.layout.Decoder(), []string{}
	o := postgres.StreamOptions{Refused: func(r *gather.RowError) error { refused = append(refused, r.Column+" "+r.Key[0]); return nil }}
	if err := r.conn.StreamInto(t.Context(), "SELECT "+r.layout.Select()+" FROM t ORDER BY extract(day FROM id) DESC NULLS FIRST", nil, d, o); err != nil {
		t.Fatal(err)
	}
	if len(refused) != 1 || refused[0] != "id infinity" {
		t.Errorf("refused %q", refused)
	}
	b := only(t, d)
	for row := range b.Rows {
		day := b.Columns[1].Int(row) - 20454 // days from 2026-01-01
		if want := day%2 == 0; b.Columns[2].IsValid(row) != want || b.Columns[0].IsValid(row) == want || want && string(b.Columns[2].Text(row)) != "NaN" {
			t.Errorf("%s", b.AppendJSON(nil, row))
		}
	}
	if b.Rows != 9 {
		t.Errorf("%d rows", b.Rows)
	}
}

// TestMemoryIsUsedAgain: a released batch gives its columns to the next, and one that is held is not touched.
func TestMemoryIsUsedAgain(t *testing.T) {
	t.Parallel()
	r := newReading(t, "CREATE TABLE t (id int4 PRIMARY KEY, body text, n int4)")
	d := r.layout.Decoder()
	var held []*record.Batch
	var want []string
	for i := range 20 {
		sql := "SELECT i::int4, 'row ' || i, CASE WHEN i % 3 = 0 THEN NULL ELSE i END::int4 FROM generate_series(" + strings.Repeat("1", i%3+1) + ", 1000) i"
		if err := r.conn.StreamInto(t.Context(), sql, nil, d, postgres.StreamOptions{}); err != nil {
			t.Fatal(err)
		}
		b := only(t, d)
		if i%2 == 0 {
			b.Release()
			continue
		}
		held, want = append(held, b), append(want, lines(b))
	}
	for i, b := range held {
		if lines(b) != want[i] {
			t.Fatalf("batch %d has changed while it was held", i)
		}
	}
	b := func() *record.Batch {
		if err := r.conn.StreamInto(t.Context(), "SELECT i::int4, 'x', i::int4 FROM generate_series(1, 100) i", nil, d, postgres.StreamOptions{}); err != nil {
			t.Fatal(err)
		}
		return only(t, d)
	}
	first := b()
	memory := &first.Columns[0].Ints[0]
	first.Release()
	b().Release()
	if again := b(); &again.Columns[0].Ints[0] != memory {
		t.Error("the memory of a released batch is not used again")
	}
}
