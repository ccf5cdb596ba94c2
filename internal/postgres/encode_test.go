package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// TestCopyRoundTrip copies values of every kind into a table of TypeOf and reads them back with a Decoder: edges, and numbers at random.
func TestCopyRoundTrip(t *testing.T) {
	t.Parallel()
	decimals := []record.Field{}
	for p := 1; p <= 38; p += 3 {
		for s := 0; s <= p; s = max(s+1, min(s*2, p)) {
			decimals = append(decimals, record.Field{Name: fmt.Sprintf("d%d_%d", p, s), Kind: record.Decimal, Precision: p, Scale: s, Nullable: true})
		}
	}
	list := func(name string, f record.Field) record.Field {
		f.Name, f.Nullable = "element", true
		return record.Field{Name: name, Kind: record.List, Nullable: true, Fields: []record.Field{f}}
	}
	fields := append([]record.Field{
		{Name: "id", Kind: record.Int64},
		{Name: "b", Kind: record.Bool, Nullable: true},
		{Name: "i4", Kind: record.Int32, Nullable: true},
		{Name: "f4", Kind: record.Float32, Nullable: true},
		{Name: "f8", Kind: record.Float64, Nullable: true},
		{Name: "day", Kind: record.Date, Nullable: true},
		{Name: "ts", Kind: record.Timestamp, Nullable: true},
		{Name: "local", Kind: record.LocalTimestamp, Nullable: true},
		{Name: `te"xt`, Kind: record.String, Nullable: true},
		{Name: "raw", Kind: record.Bytes, Nullable: true},
		list("ints", record.Field{Kind: record.Int32}), list("texts", record.Field{Kind: record.String}),
		list("sums", record.Field{Kind: record.Decimal, Precision: 20, Scale: 3}), list("days", record.Field{Kind: record.Date}),
	}, decimals...)
	schema, err := record.NewSchema("kinds", []string{"id"}, fields...)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		`{"id":-9223372036854775808}`,
		`{"id":9223372036854775807,"b":true,"i4":-2147483648,"f4":"NaN","f8":"-Inf","day":"0001-01-01","ts":"0001-01-01T00:00:00.000000Z",` +
			`"local":"9999-12-31T23:59:59.999999","te\"xt":"","raw":"","ints":[],"texts":["",null,"NULL","a\"b","{}"],"sums":["-0.001","99999999999999999.999"],"days":["9999-12-31",null]}`,
		`{"id":0,"b":false,"i4":2147483647,"f4":-0.0,"f8":5e-324,"day":"9999-12-31","ts":"1969-12-31T23:59:59.999999Z","local":"2000-01-01T00:00:00.000000",` +
			`"te\"xt":"ñ 日本 \ufeff\u0001","raw":"AAECAw==","ints":[1,null,-1],"texts":[],"sums":[null],"days":[]}`,
	}
	b := record.NewBuilder(schema, 100)
	for _, l := range lines {
		if err := b.AppendJSON([]byte(l)); err != nil {
			t.Fatal(l, err)
		}
	}
	random := rand.New(rand.NewPCG(7, 7))
	for i := range 200 {
		text := fmt.Sprintf(`{"id":%d`, i+1)
		for _, f := range decimals {
			text += fmt.Sprintf(`,%q:%q`, f.Name, decimal(random, f.Precision, f.Scale))
		}
		if err := b.AppendJSON([]byte(text + "}")); err != nil {
			t.Fatal(text, err)
		}
	}
	compare(t, schema, b.Batch(nil))
}

// decimal makes a number of up to so many digits: often with zeros at either end, and as large as it may be.
func decimal(random *rand.Rand, precision, scale int) string {
	digits := make([]byte, precision)
	for i := range digits {
		digits[i] = "0000013579"[random.IntN(10)]
	}
	switch random.IntN(4) {
	case 0:
		digits = bytes.Repeat([]byte{'9'}, precision)
	case 1:
		digits = append(bytes.Repeat([]byte{'0'}, precision-1), '1')
	}
	whole := strings.TrimLeft(string(digits[:precision-scale]), "0")
	text := "0"
	if whole != "" {
		text = whole
	}
	if scale > 0 {
		text += "." + string(digits[precision-scale:])
	}
	if random.IntN(2) == 0 && strings.Trim(text, "0.") != "" {
		text = "-" + text
	}
	return text
}

func compare(t *testing.T, schema *record.Schema, b *record.Batch) {
	t.Helper()
	dsn := server.Database(t)
	c := connect(t, dsn)
	ctx := context.Background()
	var columns []string
	copied := postgres.AppendCopyHeader(nil)
	for i := range schema.Fields {
		f := &schema.Fields[i]
		columns = append(columns, `"`+strings.ReplaceAll(f.Name, `"`, `""`)+`" `+postgres.TypeOf(f, i == 0))
	}
	for row := range b.Rows {
		copied = postgres.AppendCopyRow(copied, len(schema.Fields))
		for i := range schema.Fields {
			if err := postgres.Misfit(&schema.Fields[i], &b.Columns[i], row); err != nil {
				t.Fatalf("row %d, column %s: %v", row, schema.Fields[i].Name, err)
			}
			copied = postgres.AppendCopy(copied, &schema.Fields[i], &b.Columns[i], row)
		}
	}
	copied = postgres.AppendCopyTrailer(copied)
	server.Exec(t, dsn, "CREATE TABLE kinds ("+strings.Join(columns, ", ")+", PRIMARY KEY (id))")
	if _, err := c.PgConn().CopyFrom(ctx, bytes.NewReader(copied), "COPY kinds FROM STDIN (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	tables, err := postgres.ListTables(ctx, c, []string{"public.kinds"})
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	layout, err := postgres.NewLayout(tables[0], postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]string{}
	d := layout.Decoder()
	if err := c.StreamInto(ctx, "SELECT "+layout.Select()+" FROM kinds", nil, d, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range batches {
		for row := range read.Rows {
			got[read.Columns[0].Int(row)] = string(read.AppendJSON(nil, row))
		}
	}
	for row := range b.Rows {
		if want := string(b.AppendJSON(nil, row)); got[b.Columns[0].Int(row)] != want {
			t.Errorf("row %d came back as\n%s\nand was\n%s", row, got[b.Columns[0].Int(row)], want)
		}
	}
}

// TestMisfit has values that the server does not have, and their neighbours that it has.
func TestMisfit(t *testing.T) {
	t.Parallel()
	day := func(v int64) (record.Field, record.Column) {
		return record.Field{Kind: record.Date}, record.Column{Ints: []int64{v}}
	}
	stamp := func(v int64) (record.Field, record.Column) {
		return record.Field{Kind: record.Timestamp}, record.Column{Ints: []int64{v}}
	}
	text := func(v string) (record.Field, record.Column) {
		return record.Field{Kind: record.String}, record.Constant(v)
	}
	texts := func(v string) (record.Field, record.Column) {
		f, c := text(v)
		return record.Field{Kind: record.List, Fields: []record.Field{f}}, record.Column{Offsets: []uint32{0, 1}, Children: []record.Column{c}}
	}
	dsn := server.Database(t, "CREATE TABLE at (d date, t timestamptz)")
	c := connect(t, dsn)
	for i, one := range []struct {
		make func() (record.Field, record.Column)
		fits bool
	}{
		{func() (record.Field, record.Column) { return day(-2440588) }, true},
		{func() (record.Field, record.Column) { return day(-2440589) }, false},
		{func() (record.Field, record.Column) { return day(2145042905) }, true},
		{func() (record.Field, record.Column) { return day(2145042906) }, false},
		{func() (record.Field, record.Column) { return day(math.MaxInt32) }, false},
		{func() (record.Field, record.Column) { return stamp(-210866803200000000) }, true},
		{func() (record.Field, record.Column) { return stamp(-210866803200000001) }, false},
		{func() (record.Field, record.Column) { return stamp(math.MaxInt64) }, true},
		{func() (record.Field, record.Column) { return stamp(math.MinInt64) }, false},
		{func() (record.Field, record.Column) { return text("a b") }, true},
		{func() (record.Field, record.Column) { return text("a\x00b") }, false},
		{func() (record.Field, record.Column) { return texts("ab") }, true},
		{func() (record.Field, record.Column) { return texts("\x00") }, false},
	} {
		f, column := one.make()
		if err := postgres.Misfit(&f, &column, 0); (err == nil) != one.fits {
			t.Errorf("case %d: %v", i, err)
		}
		if f.Kind != record.Date && f.Kind != record.Timestamp {
			continue
		}
		copied := postgres.AppendCopyRow(postgres.AppendCopyHeader(nil), 1)
		copied = postgres.AppendCopyTrailer(postgres.AppendCopy(copied, &f, &column, 0))
		name := map[record.Kind]string{record.Date: "d", record.Timestamp: "t"}[f.Kind]
		_, err := c.PgConn().CopyFrom(context.Background(), bytes.NewReader(copied), "COPY at ("+name+") FROM STDIN (FORMAT binary)")
		if one.fits && err != nil {
			t.Errorf("case %d: the server does not take it: %v", i, err)
		}
	}
}
