package cast

import (
	"bytes"
	"math"
	"time"

	"github.com/acequia-io/acequia/record"
)

const (
	day     = 86_400_000_000 // microseconds
	seconds = len("2006-01-02T15:04:05")
)

// toTime: a local timestamp is taken for UTC, and a date for its beginning.
func toTime(from, to record.Kind) way {
	switch {
	case from == record.String:
		return way{value: func(w *work, slot int) bool {
			v, ok := w.time(w.in.Text(slot))
			w.out.Ints[slot] = v
			return ok
		}}
	case from == record.Date:
		return way{value: func(w *work, slot int) bool {
			v := w.in.Ints[slot]
			w.out.Ints[slot] = v * day
			return v <= math.MaxInt64/day && v >= math.MinInt64/day
		}}
	case from != record.Timestamp && from != record.LocalTimestamp:
		return way{}
	case to == record.Date:
		return way{value: func(w *work, slot int) bool {
			v := w.in.Ints[slot]
			w.out.Ints[slot] = v / day
			return v%day == 0
		}}
	}
	return way{same: always}
}

// time reads what the type is in RFC 3339: a date, a date and time with an offset, or one without; a space may stand
// for the T.
func (w *work) time(text []byte) (int64, bool) {
	full := append(w.room[:0], text[:min(len(text), len(w.room)-len("T00:00:00Z"))]...)
	if len(full) != len(text) || len(full) < len(time.DateOnly) {
		return 0, false
	}
	switch {
	case w.to.Kind == record.Date:
		full = append(full, "T00:00:00Z"...)
	case len(full) < seconds:
		return 0, false
	case w.to.Kind == record.LocalTimestamp:
		full = append(full, 'Z')
	}
	if full[10] == ' ' {
		full[10] = 'T'
	}
	var t time.Time
	if len(full) > seconds+7 && finer(full[seconds:]) || t.UnmarshalText(full) != nil {
		return 0, false
	}
	if w.to.Kind == record.Date {
		return t.UnixMicro() / day, true
	}
	return t.UnixMicro(), true
}

// finer says whether a fraction of a second has digits for less than a microsecond.
func finer(fraction []byte) bool {
	digits := fraction[7:]
	if end := bytes.IndexAny(digits, "Z+-"); end >= 0 {
		digits = digits[:end]
	}
	return fraction[0] == '.' && len(bytes.Trim(digits, "0")) > 0
}
