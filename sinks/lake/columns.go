package lake

import (
	"slices"

	"github.com/acequia-io/acequia/record"
)

// fileColumns gives the columns of a file for a batch: its own, then the system's, which are constants wherever one
// value stands for every row.
func fileColumns(b *record.Batch) []record.Column {
	out := make([]record.Column, 0, len(b.Columns)+6)
	out = append(out, b.Columns...)
	s := &b.System
	return append(out, opColumn(s, b.Rows), record.Column{Versions: s.Versions, Const: s.Versions.Constant()}, eventIDs(s),
		record.Constant(s.Source), eventTimes(s), record.Column{Ints: []int64{s.IngestTime}, Const: true})
}

func opColumn(s *record.System, rows int) record.Column {
	if len(s.Ops) <= 1 || !slices.ContainsFunc(s.Ops, func(o record.Op) bool { return o != s.Ops[0] }) {
		return record.Constant(s.Op(0).String())
	}
	c := record.Column{Bytes: make([]byte, rows), Offsets: make([]uint32, rows+1)}
	for i := range rows {
		c.Bytes[i] = byte(s.Ops[i])
		c.Offsets[i+1] = uint32(i + 1)
	}
	return c
}

func eventIDs(s *record.System) record.Column {
	if len(s.EventIDs.Offsets) == 0 {
		return record.Column{Offsets: []uint32{0, 0}, Valid: []uint64{0}, Const: true}
	}
	return s.EventIDs
}

func eventTimes(s *record.System) record.Column {
	if len(s.EventTimes) <= 1 {
		return record.Column{Ints: []int64{s.EventTime(0)}, Const: true}
	}
	return record.Column{Ints: s.EventTimes}
}
