package handlertest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/record"
)

// row is what one record says, however its batch holds it.
type row struct {
	Stream string
	Values map[string]string
	System string
	To     string // the sinks that it is for
}

// images gives the rows of some batches, in order.
func images(batches []*record.Batch) []row {
	var out []row
	for _, b := range batches {
		for i := range b.Rows {
			r := row{Stream: b.Schema.Stream, Values: make(map[string]string, len(b.Columns)), System: system(b, i), To: fmt.Sprintf("%q", b.System.Routes.Of(i))}
			for c, f := range b.Schema.Fields {
				r.Values[f.Name] = value(f, &b.Columns[c], i)
			}
			out = append(out, r)
		}
	}
	return out
}

// system gives the system data of a row.
func system(b *record.Batch, i int) string {
	s := &b.System
	event := "null"
	if len(s.EventIDs.Offsets) > 0 {
		event = value(record.Field{Kind: record.String}, &s.EventIDs, i)
	}
	return fmt.Sprintf("%s op=%s version=%s event=%d ingest=%d source=%s", event, s.Op(i), s.Versions.At(i), s.EventTime(i), s.IngestTime, s.Source)
}

// value gives a value as text, so that NaN equals NaN.
func value(f record.Field, c *record.Column, i int) string {
	switch {
	case c.IsAbsent(i):
		return "absent"
	case !c.IsValid(i):
		return "null"
	}
	slot := i
	if c.Const {
		slot = 0
	}
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		return fmt.Sprintf("%x", math.Float64bits(c.Float(i)))
	case f.Wide():
		return fmt.Sprint(c.Wide[slot])
	case f.Kind == record.String || f.Kind == record.Bytes:
		return fmt.Sprintf("%q", c.Text(i))
	case f.Kind == record.VersionText:
		return c.Versions.At(slot).String()
	case f.Kind == record.List:
		var parts []string
		for e := c.Offsets[slot]; e < c.Offsets[slot+1]; e++ {
			parts = append(parts, value(f.Fields[0], &c.Children[0], int(e)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case f.Kind == record.Struct:
		var parts []string
		for k, member := range f.Fields {
			parts = append(parts, value(member, &c.Children[k], slot))
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(c.Int(i))
}

// differ says how two lists of rows differ, or nil.
func differ(what string, got, want []row) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := cmp.Diff(want[i], got[i]); d != "" {
			return fmt.Errorf("%s: row %d differs (-want +got):\n%s", what, i, d)
		}
	}
	return nil
}

// content is a deep copy of what a batch holds, slot by slot.
type content struct {
	Schema  *record.Schema
	Rows    int
	Columns []record.Column
	System  record.System
}

func contentOf(b *record.Batch) content {
	s := b.System
	s.Routes.Rows = slices.Clone(s.Routes.Rows)
	s.Ops, s.EventTimes, s.Versions, s.EventIDs = slices.Clone(s.Ops), slices.Clone(s.EventTimes), cloneVersions(s.Versions), cloneColumn(s.EventIDs)
	return content{Schema: b.Schema, Rows: b.Rows, Columns: cloneColumns(b.Columns), System: s}
}

// diff says where two contents differ, or "".
func (c content) diff(o content) string {
	if c.Schema != o.Schema {
		return "another schema"
	}
	c.Schema, o.Schema = nil, nil
	return cmp.Diff(c, o, cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }))
}

func cloneColumns(in []record.Column) []record.Column {
	if in == nil {
		return nil
	}
	out := make([]record.Column, len(in))
	for i := range in {
		out[i] = cloneColumn(in[i])
	}
	return out
}

func cloneColumn(c record.Column) record.Column {
	return record.Column{
		Ints: slices.Clone(c.Ints), Floats: slices.Clone(c.Floats), Wide: slices.Clone(c.Wide), Offsets: slices.Clone(c.Offsets),
		Bytes: slices.Clone(c.Bytes), Versions: cloneVersions(c.Versions), Children: cloneColumns(c.Children),
		Valid: slices.Clone(c.Valid), Absent: slices.Clone(c.Absent), Const: c.Const,
	}
}

func cloneVersions(v record.Versions) record.Versions {
	return record.Versions{Epoch: v.Epoch, Hi: slices.Clone(v.Hi), Lo: slices.Clone(v.Lo), Index: slices.Clone(v.Index)}
}

// spoil overwrites all that a batch holds, as a pool would that lends its memory again.
func spoil(b *record.Batch) {
	for i := range b.Columns {
		spoilColumn(&b.Columns[i])
	}
	s := &b.System
	spoilColumn(&s.EventIDs)
	fill(s.Ops, record.Truncate)
	fill(s.EventTimes, -1)
	fill(s.Routes.Rows, ^uint64(0))
	spoilVersions(s.Versions)
}

func spoilColumn(c *record.Column) {
	fill(c.Ints, -77)
	fill(c.Floats, -77)
	fill(c.Wide, record.Int128{Hi: -77})
	fill(c.Bytes, '#')
	fill(c.Valid, 0)
	fill(c.Absent, 0)
	fill(c.Offsets, 0)
	spoilVersions(c.Versions)
	for i := range c.Children {
		spoilColumn(&c.Children[i])
	}
}

func spoilVersions(v record.Versions) {
	fill(v.Hi, 77)
	fill(v.Lo, 77)
	fill(v.Index, 77)
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}
