package cast

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// way is how the values of one type become those of another.
type way struct {
	// same says of a whole column that its values are held alike, so that it is shared. It is asked first.
	same func(w *work) bool
	// value converts the value of a slot: it puts a number in its slot and appends a text. It gives false when that is not
	// possible exactly.
	value func(w *work, slot int) bool
}

// work is one column of one batch on its way.
type work struct {
	*step
	batch   *record.Batch
	in      *record.Column
	out     record.Column
	bad     []fault.Row
	room    [64]byte // of a text on its way
	unowned bool     // out.Valid is the input's
}

func (w *work) slots() int {
	if w.in.Const {
		return min(w.batch.Rows, 1)
	}
	return w.batch.Rows
}

// column gives the column in its new type, and adds the rows that it refuses to those that are bad.
func (w *work) column() record.Column {
	if w.way.same != nil && w.way.same(w) {
		return *w.in
	}
	slots, isText := w.slots(), false
	switch {
	case w.to.Kind == record.Float32 || w.to.Kind == record.Float64:
		w.out.Floats = make([]float64, slots)
	case w.to.Wide():
		w.out.Wide = make([]record.Int128, slots)
	case w.to.Kind == record.String || w.to.Kind == record.Bytes:
		isText = true
		w.out.Bytes = make([]byte, 0, max(8*slots, len(w.in.Bytes)))
		w.out.Offsets = append(make([]uint32, 0, slots+1), 0)
	default:
		w.out.Ints = make([]int64, slots)
	}
	w.out.Valid, w.out.Absent, w.out.Const, w.unowned = w.in.Valid, w.in.Absent, w.in.Const, true
	for slot := range slots {
		if w.in.IsValid(slot) {
			start := len(w.out.Bytes)
			if !w.way.value(w, slot) {
				w.out.Bytes = w.out.Bytes[:start]
				w.refuse(slot)
			}
		}
		if isText {
			w.out.Offsets = append(w.out.Offsets, uint32(len(w.out.Bytes))) //nolint:gosec // a batch is far below 4 GiB
		}
	}
	return w.out
}

// refuse makes the rows of a slot bad: its own, or all of a constant column. A delete passes, because without it the
// record would stay for ever; but one whose key is wrong would delete another.
func (w *work) refuse(slot int) {
	first, end := slot, slot+1
	if w.in.Const {
		end = w.batch.Rows
	}
	var err error
	for row := first; row < end; row++ {
		op := w.batch.System.Op(row)
		if op == record.Truncate || op == record.Delete && !w.isKey {
			continue
		}
		if err == nil {
			err = fault.Poisoned(fmt.Errorf("%s does not become %s exactly", w.shown(slot), w.to.TypeName()))
		}
		w.bad = append(w.bad, fault.Row{Index: row, Column: w.from.Name, Err: err})
	}
	switch {
	case w.to.Wide():
		w.out.Wide[slot] = record.Int128{}
	case w.out.Floats != nil:
		w.out.Floats[slot] = 0
	case w.out.Ints != nil:
		w.out.Ints[slot] = 0
	}
	if w.to.Nullable {
		if w.unowned {
			w.out.Valid, w.unowned = slices.Clone(w.out.Valid), false
		}
		for len(w.out.Valid)*64 < w.slots() { // it covers every slot, or is not there
			w.out.Valid = append(w.out.Valid, ^uint64(0))
		}
		w.out.SetNull(slot)
	}
}

// shown gives a value for an error: what comes first of it, in quotes.
func (w *work) shown(slot int) string {
	const most, size = 64, 200 // characters of the value, bytes of what is shown of it
	text := w.in.Text
	if w.from.Kind != record.String && w.from.Kind != record.Bytes {
		text = func(row int) []byte { return record.AppendText(nil, &w.from, w.in, row) }
	}
	start := text(slot)
	v := []rune(string(start[:min(len(start), 4*most+4)]))
	for n := min(most, len(v)); ; n /= 2 {
		text := strconv.Quote(string(v[:n]))
		if len(text) > size {
			continue
		}
		if n < len(v) {
			text += "..."
		}
		return text
	}
}
