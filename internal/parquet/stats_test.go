package parquet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/acequia-io/acequia/record"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// key gives bytes that order as the values of a field do; plain is a value as statistics hold it.
func key(f record.Field, plain []byte) string {
	switch f.Kind {
	case record.Bool, record.String, record.Bytes, record.VersionText:
		return string(plain)
	case record.Int32, record.Date:
		return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(plain)^1<<31)
	case record.Float32:
		return floatKey(float64(math.Float32frombits(binary.LittleEndian.Uint32(plain))))
	case record.Float64:
		return floatKey(math.Float64frombits(binary.LittleEndian.Uint64(plain)))
	}
	if f.Wide() {
		return string(append([]byte{plain[0] ^ 0x80}, plain[1:]...))
	}
	return fmt.Sprintf("%016x", binary.LittleEndian.Uint64(plain)^1<<63)
}

// floatKey orders -0 before 0.
func floatKey(v float64) string {
	b := math.Float64bits(v)
	if b>>63 == 1 {
		return fmt.Sprintf("%016x", ^b)
	}
	return fmt.Sprintf("%016x", b^1<<63)
}

// leafFields gives the fields of the leaves, in their order.
func leafFields(fields []record.Field) []record.Field {
	var out []record.Field
	for _, f := range fields {
		if len(f.Fields) > 0 {
			out = append(out, leafFields(f.Fields)...)
		} else {
			out = append(out, f)
		}
	}
	return out
}

// seen is what a page or chunk holds.
type seen struct {
	lo, hi string // keys
	any    bool
	nan    bool
	nulls  int64
	values int64
}

func (s *seen) add(f record.Field, v pq.Value) {
	s.values++
	if v.IsNull() {
		s.nulls++
		return
	}
	if f.Kind == record.Float32 && math.IsNaN(float64(v.Float())) || f.Kind == record.Float64 && math.IsNaN(v.Double()) {
		s.nan = true
		return
	}
	k := key(f, v.Bytes())
	if !s.any || k < s.lo {
		s.lo = k
	}
	if !s.any || k > s.hi {
		s.hi = k
	}
	s.any = true
}

func (s *seen) merge(o seen) {
	s.values += o.values
	s.nulls += o.nulls
	s.nan = s.nan || o.nan
	if o.any && (!s.any || o.lo < s.lo) {
		s.lo = o.lo
	}
	if o.any && (!s.any || o.hi > s.hi) {
		s.hi = o.hi
	}
	s.any = s.any || o.any
}

// bounds checks that there are bounds when there should be, that they hold, and that they are tight.
func (s *seen) bounds(f record.Field, lo, hi []byte, limit int) error {
	if !s.any || s.nan {
		if len(lo) > 0 || len(hi) > 0 {
			return errors.New("bounds without values, or with NaN")
		}
		return nil
	}
	if lo == nil || hi == nil {
		return errors.New("no bounds")
	}
	klo, khi := key(f, lo), key(f, hi)
	text := f.Kind == record.String || f.Kind == record.Bytes
	float := f.Kind == record.Float32 || f.Kind == record.Float64
	switch {
	case klo > s.lo || khi < s.hi:
		return fmt.Errorf("bounds %q %q do not hold %q %q", klo, khi, s.lo, s.hi)
	case text && len(lo) > limit:
		return errors.New("a long lower bound")
	case text && len(s.hi) <= limit && khi != s.hi, text && len(s.lo) <= limit && klo != s.lo:
		return fmt.Errorf("bounds %q %q are not the values %q %q", klo, khi, s.lo, s.hi)
	case float && s.lo == floatKey(0) && klo != floatKey(math.Copysign(0, -1)):
		return errors.New("the lower bound is +0")
	case float && s.hi == floatKey(math.Copysign(0, -1)) && khi != floatKey(0):
		return errors.New("the upper bound is -0")
	case !text && !float && (klo != s.lo || khi != s.hi):
		return fmt.Errorf("bounds %q %q are not tight: %q %q", klo, khi, s.lo, s.hi)
	}
	return nil
}

// TestStatistics compares the statistics of chunks and pages with the values that parquet-go reads.
func TestStatistics(t *testing.T) {
	t.Parallel()
	orders := map[format.BoundaryOrder]int{}
	indexes := 0
	for seed := range seeds(300) {
		data, fields, _ := randomFile(t, seed)
		f, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		leaves := leafFields(fields)
		for g, group := range f.RowGroups() {
			for i, chunk := range group.ColumnChunks() {
				pages, err := readPages(leaves[i], chunk)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				meta := f.Metadata().RowGroups[g].Columns[i]
				if err := checkChunk(leaves[i], meta.MetaData, pages); err != nil {
					t.Fatalf("seed %d: group %d column %d %v: %v", seed, g, i, leaves[i].Kind, err)
				}
				if meta.ColumnIndexOffset == 0 {
					continue
				}
				indexes++
				var ci format.ColumnIndex
				part := data[meta.ColumnIndexOffset:][:meta.ColumnIndexLength]
				if err := thrift.Unmarshal(new(thrift.CompactProtocol), part, &ci); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				orders[ci.BoundaryOrder]++
				if err := checkIndex(leaves[i], ci, pages); err != nil {
					t.Fatalf("seed %d: group %d column %d %v: %v", seed, g, i, leaves[i].Kind, err)
				}
			}
		}
	}
	if indexes < 200 || orders[format.Ascending] < 20 || orders[format.Descending] < 5 || orders[format.Unordered] < 20 {
		t.Errorf("%d column indexes, orders %v: the files are too much alike", indexes, orders)
	}
}

func readPages(f record.Field, chunk pq.ColumnChunk) ([]seen, error) {
	var out []seen
	pages := chunk.Pages()
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return out, pages.Close()
		}
		if err != nil {
			return nil, err
		}
		values := make([]pq.Value, p.NumValues())
		if n, err := p.Values().ReadValues(values); n < len(values) {
			return nil, fmt.Errorf("%d of %d values: %w", n, len(values), err)
		}
		var s seen
		for _, v := range values {
			s.add(f, v)
		}
		out = append(out, s)
	}
}

func checkChunk(f record.Field, m format.ColumnMetaData, pages []seen) error {
	var all seen
	data := int32(0)
	for _, p := range pages {
		all.merge(p)
	}
	for _, s := range m.EncodingStats {
		if s.PageType == format.DataPage {
			data += s.Count
		}
	}
	switch {
	case m.NumValues != all.values:
		return fmt.Errorf("%d values, says %d", all.values, m.NumValues)
	case m.Statistics.NullCount != all.nulls:
		return fmt.Errorf("%d nulls, says %d", all.nulls, m.Statistics.NullCount)
	case int(data) != len(pages):
		return fmt.Errorf("%d data pages, says %d", len(pages), data)
	}
	return all.bounds(f, m.Statistics.MinValue, m.Statistics.MaxValue, 64)
}

func checkIndex(f record.Field, ci format.ColumnIndex, pages []seen) error {
	if len(ci.MinValues) != len(pages) || len(ci.NullPages) != len(pages) {
		return fmt.Errorf("%d pages, index of %d", len(pages), len(ci.MinValues))
	}
	up, down, last := true, true, -1
	for i, p := range pages {
		if ci.NullCounts[i] != p.nulls || ci.NullPages[i] != (p.nulls == p.values) {
			return fmt.Errorf("page %d: %d nulls of %d, says %d, %t", i, p.nulls, p.values, ci.NullCounts[i], ci.NullPages[i])
		}
		if ci.NullPages[i] {
			continue
		}
		if err := p.bounds(f, ci.MinValues[i], ci.MaxValues[i], 16); err != nil {
			return fmt.Errorf("page %d: %w", i, err)
		}
		if last >= 0 {
			lo, hi := key(f, ci.MinValues[last]), key(f, ci.MaxValues[last])
			up = up && lo <= key(f, ci.MinValues[i]) && hi <= key(f, ci.MaxValues[i])
			down = down && lo >= key(f, ci.MinValues[i]) && hi >= key(f, ci.MaxValues[i])
		}
		last = i
	}
	want := format.Unordered
	switch {
	case up:
		want = format.Ascending
	case down:
		want = format.Descending
	}
	if ci.BoundaryOrder != want {
		return fmt.Errorf("boundary order %v, want %v", ci.BoundaryOrder, want)
	}
	return nil
}
