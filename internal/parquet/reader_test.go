package parquet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"

	"github.com/google/go-cmp/cmp"
)

func opened(tb testing.TB, data []byte) *parquet.File {
	tb.Helper()
	f, err := parquet.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func bound(tb testing.TB, f *parquet.File, fields []record.Field) *parquet.Reader {
	tb.Helper()
	wanted, err := f.Bind(fields)
	if err != nil {
		tb.Fatal(err)
	}
	r := parquet.NewReader(f, wanted)
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// What was written is read again: all kinds, in pieces of any size, from any row on.
func TestReadBack(t *testing.T) {
	t.Parallel()
	for seed := range seeds(300) {
		data, fields, batches := randomFile(t, seed)
		want := rendered(fields, batches)
		r := rand.New(rand.NewPCG(seed, 2))
		f := opened(t, data)
		if f.Rows() != int64(len(want)) {
			t.Fatalf("seed %d: %d rows, want %d", seed, f.Rows(), len(want))
		}
		in, at := bound(t, f, fields), 0
		if r.IntN(2) == 0 {
			at = seek(t, r, f, in)
		}
		columns := make([]record.Column, len(fields))
		for seeks := 3; ; {
			if seeks > 0 && r.IntN(6) == 0 {
				seeks--
				at = seek(t, r, f, in)
			}
			n, misfits, err := in.Read(columns, 1+r.IntN(300))
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(misfits) > 0 {
				t.Fatalf("seed %d: %v, %v", seed, err, misfits)
			}
			schema, err := record.NewSchema("s", nil, fields...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := record.NewBatch(schema, n, columns, record.System{}, nil); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for row := range n {
				for i, field := range fields {
					if got := parquettest.Value(field, &columns[i], row); got != want[at][i] {
						t.Fatalf("seed %d: row %d, column %s (%v): got %s, want %s", seed, at, field.Name, field.Kind, got, want[at][i])
					}
				}
				at++
			}
		}
		if at != len(want) {
			t.Fatalf("seed %d: read %d rows, want %d", seed, at, len(want))
		}
	}
}

// seek goes to a random row and gives its number in the file.
func seek(t *testing.T, r *rand.Rand, f *parquet.File, in *parquet.Reader) int {
	t.Helper()
	group := r.IntN(len(f.Groups()))
	row := r.Int64N(f.Groups()[group].Rows + 1)
	if err := in.Seek(group, row); err != nil {
		t.Fatal(err)
	}
	if g, at := in.Place(); g != group || at != row {
		t.Fatalf("it stands at row %d of group %d, want %d of %d", at, g, row, group)
	}
	for _, g := range f.Groups()[:group] {
		row += g.Rows
	}
	return int(row)
}

// written makes a file of batches.
func written(tb testing.TB, fields []record.Field, batches ...batch) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := parquet.NewWriter(&out, fields, nil, parquet.Options{})
	for _, b := range batches {
		if err := w.Write(b.columns, 0, b.rows); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// A column of versions has one epoch a batch: a read ends where it changes.
func TestEpochsEndReads(t *testing.T) {
	t.Parallel()
	fields := []record.Field{{Name: "v", Kind: record.VersionText, Nullable: true}, {Name: "n", Kind: record.Int64}}
	of := func(epoch uint16, from, rows int) batch {
		var n, v record.Column
		for i := range rows {
			n.Ints = append(n.Ints, int64(from+i))
			v.Versions.Lo = append(v.Versions.Lo, uint64(from+i)) //nolint:gosec // small
		}
		v.Versions.Epoch = epoch
		v.SetNull(0)
		for len(v.Valid)*64 < rows {
			v.Valid = append(v.Valid, ^uint64(0))
		}
		return batch{[]record.Column{v, n}, rows}
	}
	r := bound(t, opened(t, written(t, fields, of(1, 0, 100), of(2, 100, 50), of(1, 150, 70))), fields)
	columns := make([]record.Column, 2)
	var got []int
	at := 0
	for {
		n, _, err := r.Read(columns, 1000)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
		for row := range n {
			want := record.Version{Epoch: []uint16{1, 2, 1}[len(got)-1], Lo: uint64(at)} //nolint:gosec // small
			if have := columns[0].Versions.At(row); columns[0].IsValid(row) && have != want || columns[1].Int(row) != int64(at) {
				t.Fatalf("row %d: %v, %d", at, have, columns[1].Int(row))
			}
			at++
		}
	}
	// the null before an epoch goes with the one before it
	if d := cmp.Diff([]int{101, 50, 69}, got); d != "" {
		t.Error(d)
	}
}

// A file that is older than its table is read as the table is now.
func TestReadWider(t *testing.T) {
	t.Parallel()
	decimal := func(name string, precision, scale int) record.Field {
		return record.Field{Name: name, Kind: record.Decimal, Precision: precision, Scale: scale}
	}
	data := written(t, []record.Field{
		{Name: "i", Kind: record.Int32}, {Name: "f", Kind: record.Float32}, decimal("d", 9, 2), decimal("w", 20, 1), {Name: "gone", Kind: record.Bool},
	}, batch{[]record.Column{
		{Ints: []int64{-7, 8}},
		{Floats: []float64{1.5, -2}},
		{Ints: []int64{-125, 250}},
		{Wide: []record.Int128{{Hi: -1, Lo: ^uint64(4)}, {Hi: 1}}},
		{Ints: []int64{0, 1}},
	}, 2})
	f := opened(t, data)
	fields := []record.Field{
		decimal("d", 30, 4),
		{Name: "new", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "item", Kind: record.String}}},
		{Name: "f", Kind: record.Float64},
		{Name: "i", Kind: record.Int64},
		decimal("w", 38, 3),
	}
	s, err := record.NewSchema("s", nil, fields...)
	if err != nil {
		t.Fatal(err)
	}
	columns := make([]record.Column, len(fields))
	n, misfits, err := bound(t, f, fields).Read(columns, 10)
	if err != nil || len(misfits) > 0 {
		t.Fatal(err, misfits)
	}
	b, err := record.NewBatch(s, n, columns, record.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"d":"-1.2500","new":null,"f":1.5,"i":-7,"w":"-0.500"}{"d":"2.5000","new":null,"f":-2,"i":8,"w":"1844674407370955161.600"}`
	if got := string(b.AppendJSON(b.AppendJSON(nil, 0), 1)); got != want {
		t.Error(got)
	}
	for _, wrong := range []record.Field{
		{Name: "i", Kind: record.String}, {Name: "missing", Kind: record.Bool}, decimal("d", 9, 1), {Name: "f", Kind: record.Int64},
	} {
		if _, err := f.Bind([]record.Field{wrong}); err == nil || !strings.Contains(err.Error(), wrong.Name) {
			t.Errorf("%s was bound: %v", wrong.Name, err)
		}
	}
}

// Values that do not fit are told with row and column, and the rows around them are whole.
func TestMisfits(t *testing.T) {
	t.Parallel()
	var c record.Column
	c.Ints = []int64{0, 0, 1 << 40, 5}
	c.SetNull(0)
	data := written(t, []record.Field{{Name: "i", Kind: record.Int64, Nullable: true}}, batch{[]record.Column{c}, 4})
	columns := make([]record.Column, 1)
	r := bound(t, opened(t, data), []record.Field{{Name: "i", Kind: record.Int32}})
	n, misfits, err := r.Read(columns, 10)
	if err != nil || n != 4 || len(misfits) != 2 {
		t.Fatal(n, misfits, err)
	}
	rows := map[int]bool{misfits[0].Row: true, misfits[1].Row: true}
	if !rows[0] || !rows[2] || columns[0].Int(1) != 0 || columns[0].Int(3) != 5 {
		t.Error(misfits, columns[0].Ints)
	}
}

// A footer that says that it has 3 GiB is refused before memory is taken for it.
func TestFooterLongerThanTheFile(t *testing.T) { //nolint:paralleltest // it counts what is allocated
	data := written(t, []record.Field{{Name: "n", Kind: record.Int64}}, batch{[]record.Column{{Ints: []int64{1, 2}}}, 2})
	binary.LittleEndian.PutUint32(data[len(data)-8:], 3<<30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parquet.Open(bytes.NewReader(data), int64(len(data)))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "was cut off") || after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes were taken: %v", after.TotalAlloc-before.TotalAlloc, err)
	}
	for size := range len(data) {
		if _, err := parquet.Open(bytes.NewReader(data[:size]), int64(size)); err == nil {
			t.Errorf("%d bytes of %d were taken", size, len(data))
		}
	}
}

// Whatever byte is damaged: rows come, or an error.
func FuzzReader(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		fields := parquettest.Fields(r)
		f.Add(written(f, fields, batch{parquettest.Columns(r, fields, 50), 50}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parquet.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var wanted []parquet.Wanted
		for i, c := range file.Columns() {
			if c.Err == nil {
				wanted = append(wanted, parquet.Wanted{Column: i, Field: c.Field})
			}
		}
		in := parquet.NewReader(file, wanted)
		columns := make([]record.Column, len(wanted))
		for rows := 0; rows < 10_000; {
			n, _, err := in.Read(columns, 100)
			if err != nil {
				break
			}
			rows += max(1, n)
		}
		if err := in.Close(); err != nil {
			t.Log(err)
		}
	})
}

// Every damage of a page is told with its column and row group.
func TestDamagedPages(t *testing.T) {
	t.Parallel()
	fields := []record.Field{{Name: "n", Kind: record.Int64}, {Name: "s", Kind: record.String, Nullable: true}}
	var n, s record.Column
	for i := range 5000 {
		n.Ints = append(n.Ints, int64(i*i))
		s.AppendText(fmt.Appendf(nil, "text %d", i*7919))
	}
	data := written(t, fields, batch{[]record.Column{n, s}, 5000})
	named := 0
	footer := len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	for at := 4; at < len(data)-8; at++ { // pages have a checksum, the footer has none
		if at < footer && at%(1+footer/200) > 0 {
			continue
		}
		damaged := bytes.Clone(data)
		damaged[at] ^= byte(1 + at%7*36)
		f, err := parquet.Open(bytes.NewReader(damaged), int64(len(damaged)))
		if err != nil {
			continue
		}
		wanted, err := f.Bind(fields)
		if err != nil {
			continue
		}
		r := parquet.NewReader(f, wanted)
		columns := make([]record.Column, 2)
		_, _, err = r.Read(columns, 5000)
		d, ok := errors.AsType[*parquet.DamagedError](err)
		if err != nil && (!ok || d.Column != "n" && d.Column != "s") && !errors.Is(err, io.EOF) {
			t.Errorf("byte %d: %v", at, err)
		}
		if ok {
			named++
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if named < 100 {
		t.Errorf("%d damages were told of a column", named)
	}
}

// A panic under the reader becomes an error that names the column: the library has some, over damages it does not look for.
func TestPanicsAreErrors(t *testing.T) {
	t.Parallel()
	fields := []record.Field{{Name: "n", Kind: record.Int64}}
	data := written(t, fields, batch{[]record.Column{{Ints: []int64{1, 2}}}, 2})
	in := struct{ io.ReaderAt }{bytes.NewReader(data)}
	f, err := parquet.Open(&in, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	r := bound(t, f, fields)
	in.ReaderAt = nil
	_, _, err = r.Read(make([]record.Column, 1), 10)
	if d, ok := errors.AsType[*parquet.DamagedError](err); !ok || d.Column != "n" {
		t.Error(err)
	}
}
