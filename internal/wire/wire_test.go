package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
)

// lines writes every row of a batch, with its system data.
func lines(b *record.Batch) []string {
	out := make([]string, b.Rows)
	for row := range out {
		sys := &b.System
		id := "none"
		if len(sys.EventIDs.Offsets) > 0 && sys.EventIDs.IsValid(row) {
			id = string(sys.EventIDs.Text(row))
		}
		parts := []string{fmt.Sprint(sys.Op(row), sys.Versions.At(row), id, sys.EventTime(row), sys.Source, sys.IngestTime)}
		for i, f := range b.Schema.Fields {
			text := parquettest.Value(f, &b.Columns[i], row)
			if b.Columns[i].IsAbsent(row) {
				text = "absent"
			}
			parts = append(parts, text)
		}
		out[row] = strings.Join(parts, "|")
	}
	return out
}

// randomBatch gives a batch of any kinds; its system data is one entry for all rows, or one each.
func randomBatch(tb testing.TB, r *rand.Rand) *record.Batch {
	tb.Helper()
	fields := parquettest.Fields(r)
	s, err := record.NewSchema("any.stream", []string{fields[0].Name}, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	rows := 1 + r.IntN(300)
	sys := record.System{Source: "test", IngestTime: r.Int64()}
	many := func() int { return []int{0, 1, rows}[r.IntN(3)] }
	for range many() {
		sys.Ops = append(sys.Ops, []record.Op{record.Insert, record.Update, record.Delete, record.Truncate, record.Snapshot}[r.IntN(5)])
	}
	for range many() {
		sys.EventTimes = append(sys.EventTimes, r.Int64())
	}
	sys.Versions.Epoch = uint16(r.Uint32())
	for range many() {
		sys.Versions.Hi = append(sys.Versions.Hi, r.Uint64())
	}
	for range many() {
		sys.Versions.Lo = append(sys.Versions.Lo, r.Uint64())
	}
	for range many() {
		sys.Versions.Index = append(sys.Versions.Index, r.Uint32N(9))
	}
	switch r.IntN(3) {
	case 0:
		sys.EventIDs = record.Constant("all the same")
	case 1:
		for i := range rows {
			sys.EventIDs.AppendText(fmt.Appendf(nil, "event-%d", i))
		}
	}
	b, err := record.NewBatch(s, rows, parquettest.Columns(r, fields, rows), sys, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func encode(tb testing.TB, b *record.Batch, limit int, compress bool) []wire.Message {
	tb.Helper()
	e, err := wire.NewEncoder(limit, compress)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := e.Encode(b)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func newDecoder(tb testing.TB) *wire.Decoder {
	tb.Helper()
	d, err := wire.NewDecoder()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(d.Close)
	return d
}

// TestRoundTrip sends batches of every kind, whole and in parts.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	d := newDecoder(t)
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 11))
		b := randomBatch(t, r)
		limit := []int{100_000, 1 << 20}[r.IntN(2)]
		var got []string
		for _, m := range encode(t, b, limit, r.IntN(2) == 0) {
			part, err := d.Decode(m.Payload)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if len(m.Payload) > limit || part.Rows != m.Rows {
				t.Fatalf("seed %d: a message of %d bytes has %d rows, said %d", seed, len(m.Payload), part.Rows, m.Rows)
			}
			if part.Schema.ID() != b.Schema.ID() || !cmp.Equal(part.Schema.KeyNames(), b.Schema.KeyNames()) || part.Schema.Stream != b.Schema.Stream {
				t.Fatalf("seed %d: another schema", seed)
			}
			got = append(got, lines(part)...)
		}
		if diff := cmp.Diff(lines(b), got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// games is the batch of the golden message: it must never change.
func games(tb testing.TB, rows int) *record.Batch {
	tb.Helper()
	s, err := record.NewSchema("games", []string{"id"},
		record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "title", Kind: record.String, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 25, Scale: 2, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String}}},
		record.Field{Name: "box", Kind: record.Struct, Fields: []record.Field{{Name: "wide", Kind: record.Float64, Nullable: true}}})
	if err != nil {
		tb.Fatal(err)
	}
	b := record.NewBuilder(s, rows)
	for i := range rows {
		b.Int(0, int64(1000+i))
		b.String(1, fmt.Sprintf("Río Quest %d", i))
		b.Wide(2, record.Int128{Hi: -1, Lo: ^uint64(i)})
		tags := b.Nested(3)
		tags.Children[0].AppendText([]byte("new"))
		tags.Offsets = append(tags.Offsets, uint32(i+1))
		b.Nested(4).Children[0].Floats = append(b.Nested(4).Children[0].Floats, float64(i)/2)
		switch i % 3 {
		case 1:
			b.Nested(1).SetNull(i)
		case 2:
			b.Nested(1).SetAbsent(i)
		}
		b.Next()
		sys := b.System()
		sys.Ops = append(sys.Ops, record.Update)
		sys.Versions.Epoch, sys.Versions.Lo = 2, append(sys.Versions.Lo, uint64(70+i))
		sys.EventIDs.AppendText(fmt.Appendf(nil, "games:%d", i))
		sys.EventTimes = append(sys.EventTimes, 1_700_000_000_000_000+int64(i))
	}
	b.System().Source, b.System().IngestTime = "items.games", 1_700_000_000_123_456
	return b.Batch(nil)
}

// TestBytesStayTheSame compares with the bytes of version 1. When it fails the format has changed: it needs a new version,
// and this one must still be read.
func TestBytesStayTheSame(t *testing.T) {
	t.Parallel()
	b := games(t, 4)
	got := encode(t, b, 1<<20, false)[0].Payload
	file := filepath.Join("testdata", "v1.hex")
	if os.Getenv("ACEQUIA_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(hex.Dump(got)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), hex.Dump(got)); diff != "" {
		t.Errorf("the format has changed (-want +got):\n%s", diff)
	}
	back, err := newDecoder(t).Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(b), lines(back)); diff != "" {
		t.Error(diff)
	}
}

// mend gives a message that was changed the checksum that it needs.
func mend(p []byte) []byte {
	if len(p) < 36 {
		return p
	}
	d := xxhash.New()
	_, _ = d.Write(p[:28])
	_, _ = d.Write(p[36:])
	s := d.Sum64()
	for i := range 8 {
		p[28+i] = byte(s >> (8 * i))
	}
	return p
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	good := encode(t, games(t, 9), 1<<20, true)[0].Payload
	d := newDecoder(t)
	change := func(at int, to byte) []byte {
		p := bytes.Clone(good)
		p[at] = to
		return p
	}
	for name, c := range map[string]struct {
		message []byte
		code    string
	}{
		"nothing":               {nil, "ACQ-BUS-001"},
		"JSON":                  {[]byte(`{"id":1}`), "ACQ-BUS-001"},
		"an unknown version":    {change(4, 2), "ACQ-BUS-002"},
		"a version of nothing":  {mend(change(4, 0)), "ACQ-BUS-002"},
		"the magic alone":       {good[:4], "ACQ-BUS-003"},
		"half a header":         {good[:20], "ACQ-BUS-003"},
		"cut":                   {good[:len(good)-1], "ACQ-BUS-003"},
		"longer":                {append(bytes.Clone(good), 0), "ACQ-BUS-003"},
		"a bit is wrong":        {change(len(good)-3, good[len(good)-3]^4), "ACQ-BUS-003"},
		"unknown compression":   {mend(change(5, 9)), "ACQ-BUS-003"},
		"a reserved byte":       {mend(change(6, 1)), "ACQ-BUS-003"},
		"another schema id":     {mend(change(8, good[8]^1)), "ACQ-BUS-003"},
		"no rows":               {mend(change(16, 0)), "ACQ-BUS-003"},
		"more rows than it has": {mend(change(16, 10)), "ACQ-BUS-003"},
		"too many rows":         {mend(change(19, 1)), "ACQ-BUS-003"},
		"a longer description":  {mend(change(20, good[20]+1)), "ACQ-BUS-003"},
		"a larger body":         {mend(change(27, 1)), "ACQ-BUS-003"},
		"broken zstd":           {mend(change(36, 0)), "ACQ-BUS-003"},
	} {
		b, err := d.Decode(c.message)
		if b != nil || fault.Code(err) != c.code || fault.Of(err) != fault.Poison {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
	}
	for n := range good {
		if _, err := d.Decode(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are taken", n, len(good))
		}
	}
	if _, err := d.Decode(good); err != nil {
		t.Error(err)
	}
}

func TestLargeRowsAreNamed(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("texts", nil, record.Field{Name: "text", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, 10)
	for i := range 10 {
		text := "short"
		if i == 3 || i == 7 {
			text = strings.Repeat("long", 1000)
		}
		b.String(0, text)
		b.Next()
	}
	e, err := wire.NewEncoder(1000, false)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Encode(b.Batch(nil))
	rows, ok := errors.AsType[*fault.Rows](err)
	if !ok || len(rows.Bad) != 2 || rows.Bad[0].Index != 3 || rows.Bad[1].Index != 7 || out != nil || fault.Code(rows.Bad[0].Err) != "ACQ-BUS-004" {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestManyValuesInFewBytes sends more equal values than a message may stand for: they come in parts.
func TestManyValuesInFewBytes(t *testing.T) {
	t.Parallel()
	fields := make([]record.Field, 200)
	for i := range fields {
		fields[i] = record.Field{Name: fmt.Sprintf("f%d", i), Kind: record.Int64}
	}
	s, err := record.NewSchema("wide", nil, fields...)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 1 << 16
	columns := make([]record.Column, len(fields))
	for i := range columns {
		columns[i].Ints = make([]int64, rows)
	}
	b, err := record.NewBatch(s, rows, columns, record.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, total := newDecoder(t), 0
	for _, m := range encode(t, b, 1<<30, true) {
		part, err := d.Decode(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		total += part.Rows
	}
	if total != rows {
		t.Errorf("%d of %d rows came", total, rows)
	}
}

// FuzzDecode gives the decoder messages that nobody has sent, with checksums that are right: it must not panic, nor ask for
// memory without end, and what it takes must be as it says.
func FuzzDecode(f *testing.F) {
	for seed := range uint64(10) {
		b := randomBatch(f, rand.New(rand.NewPCG(seed, 3)))
		f.Add(encode(f, b, 1<<20, false)[0].Payload)
		f.Add(encode(f, b, 1<<20, true)[0].Payload)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := wire.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		b, err := d.Decode(mend(bytes.Clone(p)))
		if err != nil {
			return
		}
		for i := range b.Schema.Fields {
			for row := range min(b.Rows, 100) {
				_ = b.AppendValueJSON(nil, i, row)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	batch := games(b, 1000)
	e, err := wire.NewEncoder(512<<10, true)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		out, err := e.Encode(batch)
		if err != nil {
			b.Fatal(err)
		}
		n = len(out[0].Payload)
	}
	b.ReportMetric(float64(n)/1000, "bytes/row")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
}

func BenchmarkDecode(b *testing.B) {
	p := encode(b, games(b, 1000), 512<<10, true)[0].Payload
	d := newDecoder(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
}
