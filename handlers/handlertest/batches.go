package handlertest

import (
	"fmt"
	"math"

	"github.com/acequia-io/acequia/record"
)

// style says what a batch is like.
type style int

const (
	plain  style = iota // every column has a value in every row
	gappy               // nullable columns have null and absent values
	steady              // every column and all system data are constant
	hollow              // as steady, and nullable columns are null or absent
)

const start = int64(1_800_000_000_000_000) // microseconds: an instant in 2027

// batch makes a batch of good rows.
func (m *maker) batch(rows int, s style) *record.Batch {
	return m.build(rows, s, nil, nil)
}

// build makes a batch in which the rows of bad are to be refused; done is as in record.NewBatch.
func (m *maker) build(rows int, s style, bad map[int]bool, done func()) *record.Batch {
	b := record.NewBuilder(m.h.Schema, rows)
	for row := range rows {
		for i := range m.h.Schema.Fields {
			m.set(b, i, row, s, bad[row])
		}
		b.Next()
	}
	*b.System() = m.system(rows, s)
	out := b.Batch(done)
	if s == steady || s == hollow {
		for i := range out.Columns {
			c := &out.Columns[i]
			first := record.Column{}
			if rows > 0 {
				first.Gather(m.h.Schema.Fields[i], c, []int32{0}, 0)
			}
			*c = first
			c.Const = true
		}
	}
	return out
}

func (m *maker) set(b *record.Builder, column, row int, s style, bad bool) {
	f := m.h.Schema.Fields[column]
	switch {
	case bad && m.h.Bad(b, column, row):
	case !bad && f.Nullable && (s == hollow || s == gappy && m.rng.IntN(3) == 0):
		if m.rng.IntN(2) == 0 {
			b.Null(column)
		} else {
			b.Absent(column)
		}
	case m.h.Good != nil && m.h.Good(b, column, row):
	default:
		m.append(f, b.Nested(column))
	}
}

// append appends a value of a field.
func (m *maker) append(f record.Field, c *record.Column) {
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		c.Floats = append(c.Floats, []float64{0, 1.5, -2, math.Inf(1), math.NaN()}[m.rng.IntN(5)])
	case f.Wide():
		c.Wide = append(c.Wide, record.Int128{Hi: int64(m.rng.IntN(1000)), Lo: m.rng.Uint64()})
	case f.Kind == record.String:
		c.AppendText([]byte(m.text()))
	case f.Kind == record.Bytes:
		c.AppendText([]byte{0, 0xff, byte(m.rng.IntN(256))})
	case f.Kind == record.Bool:
		c.Ints = append(c.Ints, int64(m.rng.IntN(2)))
	case f.Kind == record.VersionText:
		c.Versions.Hi = append(c.Versions.Hi, 0)
		c.Versions.Lo = append(c.Versions.Lo, m.rng.Uint64())
		c.Versions.Index = append(c.Versions.Index, m.rng.Uint32())
	case f.Kind == record.List:
		if len(c.Offsets) == 0 {
			c.Offsets = append(c.Offsets, 0)
		}
		if len(c.Children) == 0 {
			c.Children = make([]record.Column, 1)
		}
		n := m.rng.IntN(4)
		for range n {
			m.append(f.Fields[0], &c.Children[0])
		}
		c.Offsets = append(c.Offsets, c.Offsets[len(c.Offsets)-1]+uint32(n))
	case f.Kind == record.Struct:
		for len(c.Children) < len(f.Fields) {
			c.Children = append(c.Children, record.Column{})
		}
		for i, member := range f.Fields {
			m.append(member, &c.Children[i])
		}
	default:
		c.Ints = append(c.Ints, []int64{0, 1, -1, 1998, math.MaxInt32, -100_000}[m.rng.IntN(6)])
	}
}

// text gives a string of one of the kinds that people send.
func (m *maker) text() string {
	words := []string{
		"", " ", "plain", "  two\tsides ", "in  the   middle", "Pok\u00e9mon", "Poke\u0301mon", "\u00a0wide\u3000",
		"\u0301 starts with a mark", "ends with a mark e\u0301", "\U0001f3ae", "Ångström", "한글", "a\x00b", "\u1112\u1161\u11ab",
	}
	if m.rng.IntN(4) == 0 {
		return fmt.Sprintf("made up %d", m.rng.IntN(1000))
	}
	return words[m.rng.IntN(len(words))]
}

// system makes system data in which every row has an event id, an operation, a version and a time of its own.
func (m *maker) system(rows int, s style) record.System {
	out := record.System{Source: "suite.handlers", IngestTime: start + 5}
	if s == steady || s == hollow {
		out.Ops = []record.Op{record.Update}
		out.Versions = record.One(record.Version{Epoch: 3, Lo: 44, Index: 5})
		out.EventTimes = []int64{start}
		out.Routes = record.Routes{Sinks: []string{"one", "two"}, Rows: []uint64{2}}
		return out
	}
	out.Versions.Epoch = 7
	out.Routes.Sinks = []string{"one", "two"}
	for row := range rows {
		out.Ops = append(out.Ops, []record.Op{record.Snapshot, record.Insert, record.Update}[m.rng.IntN(3)])
		out.Versions.Hi = append(out.Versions.Hi, uint64(row%3))
		out.Versions.Lo = append(out.Versions.Lo, m.rng.Uint64())
		out.Versions.Index = append(out.Versions.Index, uint32(row))
		out.EventTimes = append(out.EventTimes, start+m.rng.Int64N(1e12))
		out.Routes.Rows = append(out.Routes.Rows, 1+m.rng.Uint64N(3))
		out.EventIDs.AppendText(fmt.Appendf(nil, "event-%d", row))
	}
	return out
}

// expanded gives the batch with a slot for each row in every column.
func expanded(b *record.Batch) (*record.Batch, error) {
	rows := make([]int32, b.Rows)
	for i := range rows {
		rows[i] = int32(i)
	}
	columns := make([]record.Column, len(b.Columns))
	for i := range columns {
		columns[i].Gather(b.Schema.Fields[i], &b.Columns[i], rows, 0)
	}
	return record.NewBatch(b.Schema, b.Rows, columns, b.System, nil)
}
