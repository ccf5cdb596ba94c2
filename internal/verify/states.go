package verify

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/record"
)

// state is what a side holds of a key.
type state struct {
	there bool
	hash  uint64
}

// suspects are the keys of some ranges in which the sides differ, and what each side holds of them.
type suspects struct {
	wanted map[int32]bool   // the ranges
	index  map[uint64]int32 // of a key, by its hash
	open   []int32          // keys that still differ

	refused map[int32]bool // the sink refuses what the source holds

	source, sink, before []state // by index; before is what the source held in the round before
	shown                []shown // of the first keys

	mu sync.Mutex // of what the source holds, while several workers look

	fields []record.Field // of the key
	keys   []record.Column
	slots  []int32 // where a key stands in keys; -1: it was not met
	n      int     // keys met
}

// shown is what is kept of a key to tell people about it.
type shown struct{ source, sink []cell }

// cell is a value of a row.
type cell struct {
	name string
	hash uint64
	text string
}

// find makes suspects of the rows of two sides that are not equal.
func findSuspects(key []record.Field, wanted map[int32]bool, source, sink map[uint64]uint64, most int) *suspects {
	s := &suspects{wanted: wanted, index: map[uint64]int32{}, refused: map[int32]bool{}, fields: key, keys: make([]record.Column, len(key))}
	add := func(h uint64) {
		n := int32(len(s.open)) //nolint:gosec // rows of a few ranges
		s.index[h] = n
		s.open = append(s.open, n)
	}
	for _, h := range slices.Sorted(maps.Keys(source)) {
		if other, ok := sink[h]; !ok || other != source[h] {
			add(h)
		}
	}
	for _, h := range slices.Sorted(maps.Keys(sink)) {
		if _, ok := source[h]; !ok {
			add(h)
		}
	}
	n := len(s.open)
	s.source, s.sink, s.before = make([]state, n), make([]state, n), make([]state, n)
	s.shown, s.slots = make([]shown, min(n, most)), make([]int32, n)
	for i := range s.slots {
		s.slots[i] = -1
	}
	return s
}

// meet keeps the key of a row.
func (s *suspects) meet(i int32, key []record.Column, row int) {
	if s.slots[i] >= 0 {
		return
	}
	s.slots[i] = int32(s.n) //nolint:gosec // rows of a few ranges
	for k := range s.keys {
		s.keys[k].Gather(s.fields[k], &key[k], []int32{int32(row)}, s.n) //nolint:gosec // a row of a batch
	}
	s.n++
}

// batch gives the keys of some suspects, those that were met, as records that hold nothing else.
func (s *suspects) batch(schema *record.Schema, of []int32) *record.Batch {
	rows := make([]int32, 0, len(of))
	for _, i := range of {
		if s.slots[i] >= 0 {
			rows = append(rows, s.slots[i])
		}
	}
	columns := make([]record.Column, len(s.keys))
	for k := range columns {
		columns[k].Gather(s.fields[k], &s.keys[k], rows, 0)
	}
	b, err := record.NewBatch(schema, len(rows), columns, record.System{}, nil)
	if err != nil { // the columns were made for the schema
		return &record.Batch{Schema: schema}
	}
	return b
}

// sift takes the keys that are equal now out of those that differ.
func (s *suspects) sift() {
	kept := s.open[:0]
	for _, i := range s.open {
		now := s.sink[i]
		// A row that changes all the time is equal when the sink has come to what the source held a moment ago.
		if now != s.source[i] && now != s.before[i] {
			kept = append(kept, i)
		}
	}
	s.open = kept
}

// What is kept of suspects to show them.
const (
	mostShown = 1000
	mostText  = 200 // bytes of a value
)

// cells reads the values of a row.
func cells(b *record.Batch, names []string, row int) []cell {
	out := make([]cell, len(b.Columns))
	for i := range b.Columns {
		f := &b.Schema.Fields[i]
		text := string(b.AppendValueJSON(nil, i, row))
		if len(text) > mostText {
			text = strings.ToValidUTF8(text[:mostText], "") + "…"
		}
		out[i] = cell{names[i], valueHash(f, &b.Columns[i], row, seedOf(names[i], f.Kind)), text}
	}
	return out
}
