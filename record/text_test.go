package record_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/record"
)

// TestAppendDecimal compares with big numbers, for every 128-bit value that a decimal can have and more.
func TestAppendDecimal(t *testing.T) {
	t.Parallel()
	check := func(tb interface {
		Helper()
		Errorf(format string, args ...any)
	}, v record.Int128, scale int,
	) {
		tb.Helper()
		digits, sign := new(big.Int).Abs(v.Big()).String(), ""
		if v.Hi < 0 {
			sign = "-"
		}
		digits = strings.Repeat("0", max(0, scale+1-len(digits))) + digits
		want := sign + digits[:len(digits)-scale]
		if scale > 0 {
			want += "." + digits[len(digits)-scale:]
		}
		if got := string(record.AppendDecimal([]byte("x"), v, scale)); got != "x"+want {
			tb.Errorf("%v with scale %d: got %s, want x%s", v.Big(), scale, got, want)
		}
	}
	for _, v := range []record.Int128{{}, {Lo: 1}, {Hi: -1, Lo: math.MaxUint64}, {Lo: 1e19}, {Lo: 1e19 - 1}, {Hi: 5, Lo: 7766279631452241920}} {
		for scale := range 39 {
			check(t, v, scale)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		v := record.Int128{Hi: rapid.Int64Range(-5421010862427522170, 5421010862427522169).Draw(r, "hi"), Lo: rapid.Uint64().Draw(r, "lo")}
		if rapid.Bool().Draw(r, "narrow") {
			v.Hi = int64(v.Lo) >> 63
		}
		check(r, v, rapid.IntRange(0, 38).Draw(r, "scale"))
	})
}

// TestAppendText writes what JSON does, without quotes.
func TestAppendText(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("s", nil,
		record.Field{Name: "b", Kind: record.Bool}, record.Field{Name: "i", Kind: record.Int64}, record.Field{Name: "f", Kind: record.Float32},
		record.Field{Name: "g", Kind: record.Float64}, record.Field{Name: "d", Kind: record.Decimal, Precision: 9, Scale: 2},
		record.Field{Name: "w", Kind: record.Decimal, Precision: 38, Scale: 20}, record.Field{Name: "day", Kind: record.Date},
		record.Field{Name: "at", Kind: record.Timestamp}, record.Field{Name: "local", Kind: record.LocalTimestamp},
		record.Field{Name: "s", Kind: record.String}, record.Field{Name: "v", Kind: record.VersionText},
		record.Field{Name: "null", Kind: record.Int32, Nullable: true},
	)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, 1)
	const row = `{"b":true,"i":-7,"f":0.1,"g":1e+300,"d":"-0.05","w":"123456789012345678.00000000000000000001","day":"1969-12-31",` +
		`"at":"2026-11-28T08:00:00.000001Z","local":"0001-01-01T00:00:00.500000","s":"Zelda","v":"0007-00000000000000010000000000000002-00000003","null":null}`
	if err := b.AppendJSON([]byte(row)); err != nil {
		t.Fatal(err)
	}
	batch := b.Batch(nil)
	if got := string(batch.AppendJSON(nil, 0)); got != row {
		t.Errorf("as JSON: %s", got)
	}
	for i := range s.Fields {
		want := strings.Trim(string(batch.AppendValueJSON(nil, i, 0)), `"`)
		if want == "null" {
			want = ""
		}
		if got := string(record.AppendText(nil, &s.Fields[i], &batch.Columns[i], 0)); got != want {
			t.Errorf("%s: got %s, want %s", s.Fields[i].Name, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("s", nil, record.Field{Name: "publisher", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32},
		record.Field{Name: "id", Kind: record.Int32}, record.Field{Name: "título", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"publishr": "publisher", "Publisher": "publisher", "pubisherr": "publisher", "yaxr": "", "yer": "year", "titulo": "título",
		"genre": "", "x": "", "": "", "i": "id", "publication_date": "",
	} {
		if got := s.Nearest(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
