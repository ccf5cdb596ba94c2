package record_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/record"
)

// FuzzParseVersion wants that what is read is what was written, and orders as its text does.
func FuzzParseVersion(f *testing.F) {
	f.Add("0001-00000000000000000000000016b37480-00000002", "ffff-ffffffffffffffffffffffffffffffff-ffffffff")
	f.Add("0001-0000000000000000000000000000000g-00000000", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		v, err := record.ParseVersion(a)
		if err != nil {
			return
		}
		if v.String() != a {
			t.Fatalf("%q was read as %q", a, v)
		}
		if w, err := record.ParseVersion(b); err == nil && sign(v.Compare(w)) != strings.Compare(a, b) {
			t.Fatalf("%s and %s order as %d, their texts as %d", a, b, v.Compare(w), strings.Compare(a, b))
		}
	})
}

func sign(n int) int { return min(1, max(-1, n)) }

// FuzzParseDecimal wants that a number that is taken is the same number when it is written and read again.
func FuzzParseDecimal(f *testing.F) {
	f.Add("-1.50", 12, 2)
	f.Add("99999999999999999999999999999999999999", 38, 0)
	f.Add("0.00000000000000000000000000000000000001", 38, 38)
	f.Add("1e5", 10, 2)
	f.Add("--1", 3, 0)
	f.Fuzz(func(t *testing.T, text string, precision, scale int) {
		if precision < 1 || precision > 38 || scale < 0 || scale > precision {
			return
		}
		v, err := record.ParseDecimal(text, precision, scale)
		if err != nil {
			return
		}
		digits := strings.TrimLeft(strings.TrimLeft(v.Big().String(), "-"), "0")
		if len(digits) > precision {
			t.Fatalf("%q became %s, which has more than %d digits", text, v.Big(), precision)
		}
		written := string(record.AppendDecimal(nil, v, scale))
		if again, err := record.ParseDecimal(written, precision, scale); err != nil || again != v {
			t.Fatalf("%q was written as %s and read as %v, %v", text, written, again.Big(), err)
		}
	})
}
