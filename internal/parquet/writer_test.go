package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

var errFull = errors.New("no space left")

// fullDisk takes some bytes and no more.
type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(d.left, len(p))
	d.left -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestOutputFails ends the output after every possible number of bytes.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	table := parquettest.NewOrders(parquettest.Log)
	columns := table.Next(300)
	var whole bytes.Buffer
	write := func(out io.Writer) error {
		w := parquet.NewWriter(out, table.Fields, nil, parquet.Options{RowGroupRows: 100, PageRows: 30})
		err := w.Write(columns, 0, 300)
		again := w.Close()
		if err != nil && !errors.Is(again, err) {
			t.Fatalf("%v, then %v", err, again)
		}
		return again
	}
	if err := write(&whole); err != nil {
		t.Fatal(err)
	}
	for left := 0; left < whole.Len(); left += 1 + left/12 {
		if err := write(&fullDisk{left: left}); !errors.Is(err, errFull) {
			t.Fatalf("%d bytes: got %v", left, err)
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	table := parquettest.NewOrders(parquettest.NoSystem)
	columns := table.Next(10)
	w := parquet.NewWriter(io.Discard, table.Fields, nil, parquet.Options{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Write(columns, 0, 10) == nil || w.Close() == nil {
		t.Error("a closed file takes rows")
	}
	w.Reset(io.Discard)
	if err := errors.Join(w.Write(columns, 0, 10), w.Close()); err != nil {
		t.Error(err)
	}
	other := parquet.NewWriter(io.Discard, table.Fields[:2], parquet.Sample(table.Fields, columns, 10), parquet.Options{})
	if other.Write(columns[:2], 0, 10) == nil {
		t.Error("the plan of another schema is taken")
	}
}

// TestRefused has rows that cannot be stored without loss.
func TestRefused(t *testing.T) {
	t.Parallel()
	null := record.Column{Ints: []int64{1, 2, 0}, Valid: []uint64{3}}
	tests := map[string]struct {
		field  record.Field
		column record.Column
		text   string // of the error; "" when the rows are good
	}{
		"null":            {record.Field{Name: "c", Kind: record.Int64}, null, "row 2, column c: null"},
		"nullable":        {record.Field{Name: "c", Kind: record.Int64, Nullable: true}, null, ""},
		"int32":           {record.Field{Name: "c", Kind: record.Int32}, record.Column{Ints: []int64{1, 1 << 31, 3}}, "row 1, column c: 2147483648"},
		"int32 below":     {record.Field{Name: "c", Kind: record.Int32}, record.Column{Ints: []int64{1, 2, -1<<31 - 1}}, "row 2, column c: -2147483649"},
		"int32 bounds":    {record.Field{Name: "c", Kind: record.Int32}, record.Column{Ints: []int64{1, math.MinInt32, math.MaxInt32}}, ""},
		"date":            {record.Field{Name: "c", Kind: record.Date}, record.Column{Ints: []int64{1 << 40, 2, 3}}, "row 0, column c"},
		"under a null":    {record.Field{Name: "c", Kind: record.Date, Nullable: true}, record.Column{Ints: []int64{1, 2, 1 << 40}, Valid: []uint64{3}}, ""},
		"bool":            {record.Field{Name: "c", Kind: record.Bool}, record.Column{Ints: []int64{0, 1, -1}}, "row 2, column c"},
		"float32":         {record.Field{Name: "c", Kind: record.Float32}, record.Column{Floats: []float64{1, math.NaN(), 0.1}}, "row 2, column c"},
		"decimal":         {record.Field{Name: "c", Kind: record.Decimal, Precision: 4}, record.Column{Ints: []int64{-9999, 9999, 10000}}, "row 2, column c"},
		"decimal minus":   {record.Field{Name: "c", Kind: record.Decimal, Precision: 4}, record.Column{Ints: []int64{-9999, -10000, 0}}, "row 1, column c"},
		"decimal bounds":  {record.Field{Name: "c", Kind: record.Decimal, Precision: 4}, record.Column{Ints: []int64{-9999, 9999, 8192}}, ""},
		"wide":            {wide38(), record.Column{Wide: []record.Int128{{}, {Hi: 5421010862427522170, Lo: 687399551400673280}, {}}}, "row 1, column c"},
		"wide bounds":     {wide38(), record.Column{Wide: []record.Int128{{}, {Hi: 5421010862427522170, Lo: 687399551400673279}, {Hi: -5421010862427522171, Lo: 17759344522308878337}}}, ""},
		"wide least":      {wide38(), record.Column{Wide: []record.Int128{{}, {}, {Hi: math.MinInt64}}}, "row 2, column c"},
		"short":           {record.Field{Name: "c", Kind: record.Int64}, record.Column{Ints: []int64{1, 2}}, "column c: has fewer slots"},
		"short bitmap":    {record.Field{Name: "c", Kind: record.Int64, Nullable: true}, record.Column{Ints: []int64{1, 2, 3}, Valid: []uint64{}}, "column c: has fewer slots"},
		"short text":      {record.Field{Name: "c", Kind: record.String}, record.Column{Offsets: []uint32{0, 1, 2, 3}, Bytes: []byte("ab")}, "column c: has fewer slots"},
		"UTF-8":           {record.Field{Name: "c", Kind: record.String}, record.Column{Offsets: []uint32{0, 1, 2, 4}, Bytes: []byte("a\xffñ")}, "row 1, column c: the text is not UTF-8"},
		"UTF-8 cut":       {record.Field{Name: "c", Kind: record.String}, record.Column{Offsets: []uint32{0, 1, 2, 3}, Bytes: []byte("ñb")}, "row 0, column c: the text is not UTF-8"},
		"any bytes":       {record.Field{Name: "c", Kind: record.Bytes}, record.Column{Offsets: []uint32{0, 1, 2, 3}, Bytes: []byte("\xff\xc3b")}, ""},
		"list":            {listOf(false), list(record.Column{Ints: []int64{1, 1 << 32, 3}}), "row 0, column c: item: 4294967296"},
		"null in list":    {listOf(false), list(null), "row 2, column c: item: null"},
		"null in list ok": {listOf(true), list(null), ""},
	}
	for name, test := range tests {
		fields, columns := []record.Field{test.field}, []record.Column{test.column}
		err := parquet.Check(fields, columns, 3)
		var out bytes.Buffer
		w := parquet.NewWriter(&out, fields, nil, parquet.Options{})
		werr := w.Write(columns, 0, 3)
		if test.text == "" {
			if err != nil || werr != nil {
				t.Errorf("%s: %v, %v", name, err, werr)
			}
			continue
		}
		if err == nil || werr == nil || !strings.Contains(err.Error(), test.text) || !strings.Contains(werr.Error(), test.text) {
			t.Errorf("%s: got %v, %v, want %s", name, err, werr, test.text)
		}
		if fault.Of(werr) != fault.Fatal {
			t.Errorf("%s: the writer's error is %v", name, fault.Of(werr))
		}
		if w.Rows() != 0 || w.Close() != nil {
			t.Errorf("%s: the writer does not go on", name)
		}
	}
}

func wide38() record.Field { return record.Field{Name: "c", Kind: record.Decimal, Precision: 38} }

func listOf(nullable bool) record.Field {
	return record.Field{Name: "c", Kind: record.List, Fields: []record.Field{{Name: "item", Kind: record.Int32, Nullable: nullable}}}
}

// list has two elements in the first row and one in the last.
func list(elements record.Column) record.Column {
	return record.Column{Offsets: []uint32{0, 2, 2, 3}, Children: []record.Column{elements}}
}

// TestHiddenProblem has a bad value in a struct that is null: nobody will read it.
func TestHiddenProblem(t *testing.T) {
	t.Parallel()
	fields := []record.Field{{Name: "s", Kind: record.Struct, Nullable: true, Fields: []record.Field{{Name: "m", Kind: record.Int32}}}}
	columns := []record.Column{{Valid: []uint64{1}, Children: []record.Column{{Ints: []int64{1, 1 << 40}}}}}
	if err := parquet.Check(fields, columns, 2); err != nil {
		t.Error(err)
	}
	columns[0].Valid[0] = 3
	if err := parquet.Check(fields, columns, 2); fault.Of(err) != fault.Poison {
		t.Errorf("got %v", err)
	}
}

// TestSchema has the elements of every kind of field, in the order of the table.
func TestSchema(t *testing.T) {
	t.Parallel()
	fields := []record.Field{
		{Name: "z", Kind: record.Bool},
		{Name: "i", Kind: record.Int32, Nullable: true},
		{Name: "l", Kind: record.Int64},
		{Name: "f", Kind: record.Float32},
		{Name: "d", Kind: record.Float64},
		{Name: "n9", Kind: record.Decimal, Precision: 9, Scale: 2},
		{Name: "n38", Kind: record.Decimal, Precision: 38, Scale: 10},
		{Name: "day", Kind: record.Date},
		{Name: "ts", Kind: record.Timestamp},
		{Name: "lts", Kind: record.LocalTimestamp},
		{Name: "s", Kind: record.String},
		{Name: "b", Kind: record.Bytes},
		{Name: "v", Kind: record.VersionText},
		{Name: "list", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "x", Kind: record.Struct, Fields: []record.Field{
			{Name: "a", Kind: record.String, Nullable: true}, {Name: "tags", Kind: record.List, Fields: []record.Field{{Name: "t", Kind: record.Int64}}},
		}}}},
	}
	var out bytes.Buffer
	w := parquet.NewWriter(&out, fields, nil, parquet.Options{})
	if err := w.Close(parquet.KeyValue{Key: "k", Value: "v"}); err != nil {
		t.Fatal(err)
	}
	f, err := pq.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	want := `message acequia {
	required boolean z;
	optional int32 i (INT(32,true));
	required int64 l (INT(64,true));
	required float f;
	required double d;
	required int64 n9 (DECIMAL(9,2));
	required fixed_len_byte_array(16) n38 (DECIMAL(38,10));
	required int32 day (DATE);
	required int64 ts (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	required int64 lts (TIMESTAMP(isAdjustedToUTC=false,unit=MICROS));
	required binary s (STRING);
	required binary b;
	required binary v (STRING);
	optional group list (LIST) {
		repeated group list {
			required group element {
				optional binary a (STRING);
				required group tags (LIST) {
					repeated group list {
						required int64 element (INT(64,true));
					}
				}
			}
		}
	}
}`
	if d := cmp.Diff(want, f.Schema().String()); d != "" {
		t.Error(d)
	}
	md := f.Metadata()
	if !strings.HasPrefix(md.CreatedBy, "acequia version ") {
		t.Errorf("created by %q", md.CreatedBy)
	}
	if len(md.KeyValueMetadata) != 1 || md.KeyValueMetadata[0] != (format.KeyValue{Key: "k", Value: "v"}) {
		t.Errorf("metadata %v", md.KeyValueMetadata)
	}
}

// TestConstants are runs: a row costs nothing.
func TestConstants(t *testing.T) {
	t.Parallel()
	table := parquettest.NewOrders(parquettest.Snapshot)
	fields := table.Fields[12:]
	var out bytes.Buffer
	columns := table.Next(10_000)[12:]
	w := parquet.NewWriter(&out, fields, parquet.Sample(fields, columns, 10_000), parquet.Options{})
	for range 50 {
		if err := w.Write(columns, 0, 10_000); err != nil {
			t.Fatal(err)
		}
		columns = table.Next(10_000)[12:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 4000 {
		t.Errorf("the system columns of 500,000 rows take %d bytes", out.Len())
	}
	if held := w.Held(); held > 64<<10 {
		t.Errorf("the writer holds %d bytes", held)
	}
}

// TestSizes has rows of any size: no page, and no memory, grows far beyond its limit.
func TestSizes(t *testing.T) {
	t.Parallel()
	fields := []record.Field{
		{Name: "s", Kind: record.String},
		{Name: "l", Kind: record.List, Fields: []record.Field{{Name: "e", Kind: record.Bytes}}},
	}
	var s, e record.Column
	offsets := []uint32{0}
	for i := range 600 {
		text := bytes.Repeat([]byte{byte('a' + i%20), byte('a' + i%7)}, i%10*2000+i%13)
		s.AppendText(text)
		e.AppendText(text)
		offsets = append(offsets, uint32(i+1)) //nolint:gosec // few
	}
	columns := []record.Column{s, {Offsets: offsets, Children: []record.Column{e}}}
	for _, plan := range []*parquet.Plan{nil, parquet.Sample(fields, columns, 600)} {
		var out bytes.Buffer
		w := parquet.NewWriter(&out, fields, plan, parquet.Options{})
		if err := w.Write(columns, 0, 600); err != nil {
			t.Fatal(err)
		}
		estimate := w.Written()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if held := w.Held(); held > 12<<20 {
			t.Errorf("the writer holds %d bytes", held)
		}
		if n := int64(out.Len()); estimate < n/2 || estimate > 2*n+2<<20 {
			t.Errorf("a file of %d bytes was expected to be of %d", n, estimate)
		}
		f, err := pq.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range f.RowGroups() {
			for i, c := range g.ColumnChunks() {
				pages := c.Pages()
				for {
					p, err := pages.ReadPage()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if p.Size() > 2<<20 {
						t.Errorf("column %d: a page of %d bytes", i, p.Size())
					}
				}
				if err := pages.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
