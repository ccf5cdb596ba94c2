package parquet

import "github.com/acequia-io/acequia/record"

// span names slots of a column: [lo,hi), or those of pick when it is not nil.
type span struct {
	lo, hi int
	pick   []uint32
}

func (s span) len() int {
	if s.pick != nil {
		return len(s.pick)
	}
	return s.hi - s.lo
}

// at is the slot at a place.
func (s span) at(i int) int {
	if s.pick != nil {
		return int(s.pick[i])
	}
	return s.lo + i
}

// part is the n slots from a place on.
func (s span) part(at, n int) span {
	if s.pick != nil {
		return span{pick: s.pick[at : at+n]}
	}
	return span{lo: s.lo + at, hi: s.lo + at + n}
}

// shredder takes nested rows apart: repetition and definition levels, and the slots that have values.
type shredder struct {
	steps []step
	way   []*record.Column // one a step
	lv    *levels
	pick  []uint32
}

// shred appends the levels of rows of col to lv, and gives the column of the values and the slots in it.
func (s *shredder) shred(steps []step, lv *levels, col *record.Column, rows span) (*record.Column, span) {
	s.steps, s.lv, s.way, s.pick = steps, lv, append(s.way[:0], col), s.pick[:0]
	for _, st := range steps[1:] {
		if st.child >= len(col.Children) { // no list has an element
			col = &record.Column{}
		} else {
			col = &col.Children[st.child]
		}
		s.way = append(s.way, col)
	}
	for i := range rows.len() {
		s.slot(0, rows.at(i), 0)
	}
	lv.rows += rows.len()
	if n := len(s.pick); n > 0 && int(s.pick[n-1])-int(s.pick[0]) == n-1 && ascends(s.pick) {
		return col, span{lo: int(s.pick[0]), hi: int(s.pick[n-1]) + 1}
	}
	return col, span{pick: s.pick}
}

// ascends says whether each slot is the one after the slot before it.
func ascends(pick []uint32) bool {
	for i := 1; i < len(pick); i++ {
		if pick[i] != pick[i-1]+1 {
			return false
		}
	}
	return true
}

// slot walks from a slot of step d down to its values; rep is the repetition level of the first of them.
func (s *shredder) slot(d, slot int, rep uint8) {
	st, c := s.steps[d], s.way[d]
	if c.Const {
		slot = 0
	}
	if st.nullable && c.Valid != nil && c.Valid[slot>>6]>>(slot&63)&1 == 0 {
		s.null(rep, st.def-1)
		return
	}
	switch st.kind {
	case record.Struct:
		s.slot(d+1, slot, rep)
	case record.List:
		from, to := int(c.Offsets[slot]), int(c.Offsets[slot+1])
		if from == to {
			s.null(rep, st.def)
			return
		}
		for e := from; e < to; e++ {
			s.slot(d+1, e, rep)
			rep = st.rep
		}
	default:
		s.level(rep, st.def)
		s.pick = append(s.pick, uint32(slot))
	}
}

func (s *shredder) null(rep, def uint8) {
	s.level(rep, def)
	s.lv.nulls++
}

func (s *shredder) level(rep, def uint8) {
	s.lv.entries++
	s.lv.defs, s.lv.reps = append(s.lv.defs, def), append(s.lv.reps, rep)
}
