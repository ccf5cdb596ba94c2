package cast

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
)

// find gives the way from one type to another, or none.
func find(from, to record.Field) way {
	switch to.Kind {
	case record.Bool:
		return toBool(from.Kind)
	case record.Int32, record.Int64:
		return toInt(from)
	case record.Float32, record.Float64:
		return toFloat(from)
	case record.Decimal:
		return toDecimal(from, to)
	case record.Date, record.Timestamp, record.LocalTimestamp:
		return toTime(from.Kind, to.Kind)
	case record.String:
		return toString(from.Kind)
	case record.Bytes:
		if from.Kind == record.String {
			return way{same: always}
		}
	default:
	}
	return way{}
}

// remedy says what to do instead of a cast that there is not.
func remedy(from, to record.Kind) string {
	isTime := to == record.Date || to == record.Timestamp || to == record.LocalTimestamp
	switch {
	case from == record.Struct:
		return "flatten gives its members columns"
	case isTime && (from == record.Int32 || from == record.Int64 || from == record.Float64):
		return "what it counts is not known: derive can compute it"
	}
	return ""
}

func always(*work) bool { return true }

// within is the way of integers that all lie between two bounds. Null slots are 0.
func within(least, most int64) func(*work) bool {
	return func(w *work) bool {
		var lo, hi int64
		for _, v := range w.in.Ints[:w.slots()] {
			lo, hi = min(lo, v), max(hi, v)
		}
		return lo >= least && hi <= most
	}
}

func toBool(from record.Kind) way {
	switch from {
	case record.Int32, record.Int64:
		return way{within(0, 1), func(w *work, slot int) bool {
			v := w.in.Ints[slot]
			w.out.Ints[slot] = v
			return v == 0 || v == 1
		}}
	case record.String:
		return way{value: func(w *work, slot int) bool {
			switch string(w.in.Text(slot)) {
			case "true", "TRUE", "True", "t", "T", "1":
				w.out.Ints[slot] = 1
			case "false", "FALSE", "False", "f", "F", "0":
			default:
				return false
			}
			return true
		}}
	default:
		return way{}
	}
}

func toInt(from record.Field) way {
	switch from.Kind {
	case record.Bool, record.Int32:
		return way{same: always}
	case record.Int64:
		return way{within(math.MinInt32, math.MaxInt32), func(w *work, slot int) bool { return w.storeInt(w.in.Ints[slot], slot) }}
	case record.Float32, record.Float64:
		return way{value: func(w *work, slot int) bool {
			f := w.in.Floats[slot]
			return f >= math.MinInt64 && f < -math.MinInt64 && f == math.Trunc(f) && w.storeInt(int64(f), slot)
		}}
	case record.Decimal:
		return way{value: func(w *work, slot int) bool {
			n := numberOf(w.in.Unscaled(&w.from, slot))
			if !n.shift(-w.from.Scale) {
				return false
			}
			v, ok := n.int()
			return ok && w.storeInt(v, slot)
		}}
	case record.String:
		return way{value: func(w *work, slot int) bool {
			n, ok := parse(w.in.Text(slot), 0)
			if !ok {
				return false
			}
			v, ok := n.int()
			return ok && w.storeInt(v, slot)
		}}
	default:
		return way{}
	}
}

func toFloat(from record.Field) way {
	switch from.Kind {
	case record.Int32, record.Int64:
		return way{value: func(w *work, slot int) bool {
			v := w.in.Ints[slot]
			f := float64(v)
			if w.to.Kind == record.Float32 {
				f = float64(float32(v))
			}
			w.out.Floats[slot] = f
			return f < -math.MinInt64 && int64(f) == v
		}}
	case record.Float32:
		return way{same: always}
	case record.Float64:
		return way{isSingles, func(w *work, slot int) bool {
			w.out.Floats[slot] = w.in.Floats[slot]
			return isSingle(w.in.Floats[slot])
		}}
	case record.Decimal:
		return way{value: func(w *work, slot int) bool {
			return w.storeText(record.AppendText(w.room[:0], &w.from, w.in, slot), slot)
		}}
	case record.String:
		return way{value: func(w *work, slot int) bool { return w.storeText(w.in.Text(slot), slot) }}
	default:
		return way{}
	}
}

func isSingle(f float64) bool { return f == float64(float32(f)) || math.IsNaN(f) }

func isSingles(w *work) bool {
	for _, f := range w.in.Floats[:w.slots()] {
		if !isSingle(f) {
			return false
		}
	}
	return true
}

func toDecimal(from, to record.Field) way {
	switch from.Kind {
	case record.Int32, record.Int64:
		return way{value: func(w *work, slot int) bool {
			v := w.in.Ints[slot]
			n := numberOf(record.Int128{Hi: v >> 63, Lo: uint64(v)}) //nolint:gosec // two's complement
			return n.shift(w.to.Scale) && w.store(n, slot)
		}}
	case record.Decimal:
		rescaled := way{value: func(w *work, slot int) bool {
			n := numberOf(w.in.Unscaled(&w.from, slot))
			return n.shift(w.to.Scale-w.from.Scale) && w.store(n, slot)
		}}
		if from.Scale == to.Scale && from.Precision <= to.Precision && from.Wide() == to.Wide() {
			rescaled.same = always
		}
		return rescaled
	case record.Float32, record.Float64:
		width := 64
		if from.Kind == record.Float32 {
			width = 32
		}
		return way{value: func(w *work, slot int) bool {
			f := w.in.Floats[slot]
			if a := math.Abs(f); !(a < 1e38) || a < 1e-38 && a != 0 { // its digits have no end
				return false
			}
			n, ok := parse(strconv.AppendFloat(w.room[:0], f, 'f', -1, width), w.to.Scale)
			return ok && w.store(n, slot)
		}}
	case record.String:
		return way{value: func(w *work, slot int) bool {
			n, ok := parse(w.in.Text(slot), w.to.Scale)
			return ok && w.store(n, slot)
		}}
	default:
		return way{}
	}
}

func toString(from record.Kind) way {
	switch from {
	case record.Bytes:
		return way{
			func(w *work) bool {
				for slot := range w.slots() {
					if !utf8.Valid(w.in.Text(slot)) {
						return false
					}
				}
				return true
			},
			func(w *work, slot int) bool {
				w.out.Bytes = append(w.out.Bytes, w.in.Text(slot)...)
				return utf8.Valid(w.in.Text(slot))
			},
		}
	case record.List, record.Struct:
		return way{}
	default:
		return way{value: func(w *work, slot int) bool {
			w.out.Bytes = record.AppendText(w.out.Bytes, &w.from, w.in, slot)
			return true
		}}
	}
}
