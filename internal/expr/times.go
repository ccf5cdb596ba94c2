package expr

import (
	"math"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

const (
	secondMicros = int64(1e6)
	dayMicros    = 86_400 * secondMicros
)

// inMicros makes a timestamp of a date; other points in time stay.
func (c *compiler) inMicros(n *node) *node {
	if n.typ.kind != kDate {
		return n
	}
	day := known(n.expr, typ{kind: kInt}, &vec{shared: true})
	day.lit.col.Const, day.lit.col.Ints = true, []int64{dayMicros}
	if out := c.intArithmetic(n.expr, operators.Multiply, kTimestamp, n, day, errTime); out != nil {
		return out
	}
	return n
}

// timeFunctions are CEL's: getMonth, getDayOfMonth, getDayOfYear count from 0, getDate from 1, getDayOfWeek from Sunday as 0.
func timeFunctions() map[string]function {
	return map[string]function{
		"getFullYear":     accessor("getFullYear", 0, func(t time.Time) int { return t.Year() }),
		"getMonth":        accessor("getMonth", 0, func(t time.Time) int { return int(t.Month()) - 1 }),
		"getDate":         accessor("getDate", 0, func(t time.Time) int { return t.Day() }),
		"getDayOfMonth":   accessor("getDayOfMonth", 0, func(t time.Time) int { return t.Day() - 1 }),
		"getDayOfYear":    accessor("getDayOfYear", 0, func(t time.Time) int { return t.YearDay() - 1 }),
		"getDayOfWeek":    accessor("getDayOfWeek", 0, func(t time.Time) int { return int(t.Weekday()) }),
		"getHours":        accessor("getHours", 3600*secondMicros, func(t time.Time) int { return t.Hour() }),
		"getMinutes":      accessor("getMinutes", 60*secondMicros, func(t time.Time) int { return t.Minute() }),
		"getSeconds":      accessor("getSeconds", secondMicros, func(t time.Time) int { return t.Second() }),
		"getMilliseconds": accessor("getMilliseconds", 1000, func(t time.Time) int { return t.Nanosecond() / 1e6 }),
	}
}

// accessor reads a part of a point in time, in UTC or in the named zone. A duration it gives in the unit, whole; a unit of 0
// says that durations have no such part.
func accessor(name string, unit int64, part func(t time.Time) int) function {
	usage := "x." + name + "() of a date or timestamp, or with a zone such as \"Europe/Madrid\""
	return function{usage, func(c *compiler, e ast.Expr, args []*node) *node {
		a := args[0]
		if a.typ.kind == kDuration && unit > 0 && len(args) == 1 {
			return c.toInts(e, kInt, a, "", func(v *vec, i int) (int64, bool) {
				return v.col.Int(i) / unit, true
			})
		}
		if !a.typ.instant() || len(args) > 2 {
			return nil
		}
		zone := time.UTC
		if len(args) == 2 {
			if args[1].typ.kind != kString || !args[1].literal() {
				return c.fail(args[1].expr, "the zone must be a text literal", `such as "Europe/Madrid"`)
			}
			var err error
			if zone, err = zoneOf(string(args[1].lit.col.Text(0))); err != nil {
				return c.fail(args[1].expr, err.Error(), `such as "Europe/Madrid" or "UTC"`)
			}
		}
		if a = c.inMicros(a); a == nil {
			return nil
		}
		return c.toInts(e, kInt, a, "", func(v *vec, i int) (int64, bool) {
			return int64(part(time.UnixMicro(v.col.Int(i)).In(zone))), true
		})
	}}
}

// zoneOf refuses the zone of the machine that "Local" would be: the same expression must give the same everywhere.
func zoneOf(name string) (*time.Location, error) {
	if name == "Local" || name == "" {
		return nil, failure("the zone has no name")
	}
	return time.LoadLocation(name) //nolint:wrapcheck // it says which
}

// daysOf gives the day of an instant.
func daysOf(micros int64) int64 {
	days := micros / dayMicros
	if micros%dayMicros < 0 {
		days--
	}
	return days
}

// instant reads RFC 3339 without memory of its own.
func instant(text []byte) (int64, bool) {
	var t time.Time
	if t.UnmarshalText(text) != nil {
		return 0, false
	}
	return t.UnixMicro(), true
}

// day reads a date written as 2006-01-02.
func day(text []byte) (int64, bool) {
	if len(text) != len(time.DateOnly) {
		return 0, false
	}
	var whole [len("2006-01-02T00:00:00Z")]byte
	copy(whole[copy(whole[:], text):], "T00:00:00Z")
	micros, ok := instant(whole[:])
	return daysOf(micros), ok
}

// period reads a duration such as 1h30m, to the microsecond.
func period(text []byte) (int64, bool) {
	d, err := time.ParseDuration(string(text))
	return d.Microseconds(), err == nil && d%time.Microsecond == 0
}

// seconds makes an instant of seconds since 1970.
func seconds(n int64) (int64, bool) {
	return n * secondMicros, n <= math.MaxInt64/secondMicros && n >= math.MinInt64/secondMicros
}
