package record

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Op is what happened to a record.
type Op uint8

// The operations, as the column _op writes them.
const (
	Snapshot Op = 'R' // read as it stood, no change seen
	Insert   Op = 'I'
	Update   Op = 'U'
	Delete   Op = 'D'
	Truncate Op = 'T' // of the whole stream; the row holds nothing
)

// String gives the letter.
func (o Op) String() string { return string(rune(o)) }

// Valid says whether it is one of the five.
func (o Op) Valid() bool {
	switch o {
	case Snapshot, Insert, Update, Delete, Truncate:
		return true
	}
	return false
}

// Position is where a lane stands: opaque to all but its source. "" is the start.
type Position string

// System is what acequia knows of each record beside its fields. A slice holds one entry a row, or one entry that
// stands for every row of the batch.
type System struct {
	Ops        []Op
	Versions   Versions
	EventIDs   Column  // String; without Offsets: null for every row
	Source     string  // where the records come from, such as "postgresql.shop.orders"
	EventTimes []int64 // microseconds since 1970 UTC: when the source changed the record, or gave it
	IngestTime int64   // microseconds since 1970 UTC: when acequia read the batch
	Routes     Routes  // which sinks the records are for
}

// Op gives the operation of a row; a batch without operations is a snapshot.
func (s *System) Op(row int) Op {
	if len(s.Ops) == 0 {
		return Snapshot
	}
	return pick(s.Ops, row)
}

// EventTime gives the event time of a row, in microseconds since 1970 UTC.
func (s *System) EventTime(row int) int64 {
	if len(s.EventTimes) == 0 {
		return s.IngestTime
	}
	return pick(s.EventTimes, row)
}

// gather gives the entries of the chosen rows.
func (s *System) gather(rows []int32) System {
	out := System{Source: s.Source, IngestTime: s.IngestTime, Ops: choose(s.Ops, rows), EventTimes: choose(s.EventTimes, rows)}
	out.Routes = Routes{Sinks: s.Routes.Sinks, Rows: choose(s.Routes.Rows, rows)}
	v := &s.Versions
	out.Versions = Versions{Epoch: v.Epoch, Hi: choose(v.Hi, rows), Lo: choose(v.Lo, rows), Index: choose(v.Index, rows)}
	switch {
	case len(s.EventIDs.Offsets) == 0:
	case s.EventIDs.Const:
		out.EventIDs = s.EventIDs.once(Field{Kind: String})
	default:
		out.EventIDs.Gather(Field{Kind: String}, &s.EventIDs, rows, 0)
	}
	return out
}

// once gives a copy of a column that holds one slot for every row.
func (c *Column) once(f Field) Column {
	var out Column
	out.Gather(f, c, []int32{0}, 0)
	out.Const = true
	return out
}

func choose[T any](s []T, rows []int32) []T {
	if len(s) <= 1 {
		return slices.Clone(s)
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = s[r]
	}
	return out
}

// Batch is many records of one schema, held in columns. It is immutable, so that several sinks and goroutines may
// share it. Whoever made it holds the first reference; whoever keeps it longer than the call it was given in takes
// one with Retain. A batch whose references are never released is freed by the collector like any other value, but
// its memory stays charged to the budget.
type Batch struct {
	Schema  *Schema
	Rows    int
	Columns []Column
	System  System

	refs atomic.Int32
	done func() // called when the last reference is released; may be nil
}

// NewBatch checks that the columns fit the schema and makes a batch with one reference. done, which may be nil, is
// called when the last reference is released: it gives the memory back.
func NewBatch(s *Schema, rows int, columns []Column, sys System, done func()) (*Batch, error) {
	if len(columns) != len(s.Fields) {
		return nil, fmt.Errorf("batch of %s: %d columns for %d fields", s.Stream, len(columns), len(s.Fields))
	}
	for i := range columns {
		if err := fits(s.Fields[i], &columns[i], rows); err != nil {
			return nil, fmt.Errorf("batch of %s: %w", s.Stream, err)
		}
	}
	return newBatch(s, rows, columns, sys, done), nil
}

func newBatch(s *Schema, rows int, columns []Column, sys System, done func()) *Batch {
	b := &Batch{Schema: s, Rows: rows, Columns: columns, System: sys, done: done}
	b.refs.Store(1)
	return b
}

// fits says whether a column has a slot for each row.
func fits(f Field, c *Column, rows int) error {
	slots := rows
	if c.Const {
		slots = min(rows, 1)
	}
	have := len(c.Ints)
	switch {
	case f.Kind == Float32 || f.Kind == Float64:
		have = len(c.Floats)
	case f.Wide():
		have = len(c.Wide)
	case f.Kind == String || f.Kind == Bytes || f.Kind == List:
		have = max(0, len(c.Offsets)-1)
	case f.Kind == VersionText:
		have = slots
	case f.Kind == Struct:
		have = slots
		for i := range c.Children {
			if err := fits(f.Fields[i], &c.Children[i], slots); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
	}
	if have < slots || c.Valid != nil && len(c.Valid)*64 < slots {
		return fmt.Errorf("column %s has %d slots for %d rows", f.Name, have, slots)
	}
	return nil
}

// OnRelease adds a function to call when the last reference is released. Only who holds the only reference may call it.
func (b *Batch) OnRelease(f func()) {
	before := b.done
	b.done = func() {
		if before != nil {
			before()
		}
		f()
	}
}

// Retain takes one more reference and gives the batch back.
func (b *Batch) Retain() *Batch {
	b.refs.Add(1)
	return b
}

// Release lets one reference go.
func (b *Batch) Release() {
	if b.refs.Add(-1) == 0 && b.done != nil {
		b.done()
	}
}

// With gives a batch of the same rows with other columns, which may share memory with b's; it takes a reference of
// its own on b. The caller still owns b.
func (b *Batch) With(s *Schema, columns []Column) *Batch {
	b.Retain()
	return newBatch(s, b.Rows, columns, b.System, b.Release)
}

// Select gives the chosen rows, in the given order, as a batch of its own memory.
func (b *Batch) Select(rows []int32) *Batch {
	out := make([]Column, len(b.Columns))
	for i := range out {
		if b.Columns[i].Const {
			out[i] = b.Columns[i].once(b.Schema.Fields[i])
			continue
		}
		out[i].Gather(b.Schema.Fields[i], &b.Columns[i], rows, 0)
	}
	return newBatch(b.Schema, len(rows), out, b.System.gather(rows), nil)
}

// Without gives the rows that are not in bad, which ascends.
func (b *Batch) Without(bad []int) *Batch {
	keep := make([]int32, 0, b.Rows-len(bad))
	for row, next := 0, 0; row < b.Rows; row++ {
		if next < len(bad) && bad[next] == row {
			next++
			continue
		}
		keep = append(keep, int32(row))
	}
	return b.Select(keep)
}

// Size is the memory that the batch holds, in bytes.
func (b *Batch) Size() int {
	n := b.System.EventIDs.Size() + cap(b.System.Ops) + 8*cap(b.System.EventTimes) +
		8*(cap(b.System.Versions.Hi)+cap(b.System.Versions.Lo)+cap(b.System.Routes.Rows)) + 4*cap(b.System.Versions.Index)
	for i := range b.Columns {
		n += b.Columns[i].Size()
	}
	return n
}

// Chunk is what one read gave, ending at one position: the only unit that flows. It may be empty and still move the
// position.
type Chunk struct {
	Batches []*Batch
	Refused []Refused // what was read and is no record of its stream, in order; it becomes dead letters
	To      Position
	ReadAt  time.Time
	Full    bool // the source is given no more before this is settled: its group is closed
}

// Refused is what a source read and could make no record of, such as a line of a file.
type Refused struct {
	Stream string
	Column string // "" when the whole is at fault
	Err    error  // why, with its code and place
	Raw    []byte // as it was read, or the beginning of it

	// What the record would have had, for when it is mended.
	Version   Version
	EventID   string
	EventTime int64 // microseconds since 1970 UTC; 0: not known
	Source    string
}

// Release lets the chunk's reference on each batch go.
func (c Chunk) Release() {
	for _, b := range c.Batches {
		b.Release()
	}
}
