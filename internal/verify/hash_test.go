package verify

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/record"
)

func hashOf(t require, doc string, fields ...record.Field) uint64 {
	t.Helper()
	s, err := record.NewSchema("s", nil, fields...)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, 1)
	if err := b.AppendJSON([]byte(doc)); err != nil {
		t.Fatal(doc, err)
	}
	batch := b.Batch(nil)
	sums := make([]uint64, 1)
	for i := range s.Fields {
		addColumn(sums, &s.Fields[i], &batch.Columns[i], seedOf(s.Fields[i].Name, s.Fields[i].Kind))
	}
	finish(sums)
	return sums[0]
}

type require interface {
	Helper()
	Fatal(args ...any)
}

func field(name string, k record.Kind) record.Field {
	return record.Field{Name: name, Kind: k, Nullable: true}
}

func decimal(p, s int) record.Field {
	return record.Field{Name: "d", Kind: record.Decimal, Precision: p, Scale: s, Nullable: true}
}

// TestWhatIsEqual has the same hash, however it is held.
func TestWhatIsEqual(t *testing.T) {
	t.Parallel()
	a, b := field("a", record.Int32), field("b", record.String)
	wide := field("a", record.Int64)
	for name, pair := range map[string][2]uint64{
		"the order of columns":     {hashOf(t, `{"a":1,"b":"x"}`, a, b), hashOf(t, `{"a":1,"b":"x"}`, b, a)},
		"a column of nulls":        {hashOf(t, `{"a":1}`, a, b), hashOf(t, `{"a":1}`, a)},
		"a wider integer":          {hashOf(t, `{"a":-7}`, a), hashOf(t, `{"a":-7}`, wide)},
		"a wider float":            {hashOf(t, `{"f":-0.25}`, field("f", record.Float32)), hashOf(t, `{"f":-0.25}`, field("f", record.Float64))},
		"a scale":                  {hashOf(t, `{"d":"1.50"}`, decimal(5, 2)), hashOf(t, `{"d":"1.5"}`, decimal(38, 20))},
		"the greatest narrow":      {hashOf(t, `{"d":"-9223372036854775808"}`, decimal(19, 0)), hashOf(t, `{"d":"-9223372036854775808"}`, decimal(38, 19))},
		"a wide one":               {hashOf(t, `{"d":"-99999999999999999999.5"}`, decimal(38, 1)), hashOf(t, `{"d":"-99999999999999999999.5"}`, decimal(38, 17))},
		"zero of any scale":        {hashOf(t, `{"d":"0"}`, decimal(1, 0)), hashOf(t, `{"d":"-0.000"}`, decimal(30, 3))},
		"one NaN and another":      {floatHash(math.NaN(), 1), floatHash(math.Float64frombits(0x7ff8dead00000001), 1)},
		"the same text, otherwise": {text([]byte("abc"), 1), text([]byte("xabcdefghijklmnopqrstuvwxyz")[1:4], 1)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %x and %x", name, pair[0], pair[1])
		}
	}
}

// TestWhatIsNotEqual never has the same hash.
func TestWhatIsNotEqual(t *testing.T) {
	t.Parallel()
	a, b := field("a", record.String), field("b", record.String)
	list := record.Field{Name: "l", Kind: record.List, Nullable: true, Fields: []record.Field{field("element", record.Int32)}}
	nested := record.Field{Name: "l", Kind: record.List, Nullable: true, Fields: []record.Field{list}}
	seen := map[uint64]string{}
	note := func(what string, h uint64) {
		if other, ok := seen[h]; ok {
			t.Errorf("%s has the hash of %s", what, other)
		}
		seen[h] = what
	}
	for _, doc := range []string{
		`{}`, `{"a":""}`, `{"b":""}`, `{"a":"x"}`, `{"b":"x"}`, `{"a":"x","b":"x"}`, `{"a":"x\u0000"}`, `{"a":"xx"}`, `{"a":"xx","b":"x"}`,
		`{"a":"0123456789abcdef"}`, `{"a":"0123456789abcdefg"}`, `{"a":"0123456789abcdeg"}`, `{"a":"0123456789abcdef0123456789abcdef"}`,
	} {
		note(doc, hashOf(t, doc, a, b))
	}
	for _, doc := range []string{`{"l":[]}`, `{"l":[null]}`, `{"l":[null,null]}`, `{"l":[1]}`, `{"l":[1,2]}`, `{"l":[2,1]}`, `{"l":[1,null]}`, `{"l":[null,1]}`} {
		note(doc, hashOf(t, doc, list))
	}
	for _, doc := range []string{`{"l":[[1],[2]]}`, `{"l":[[1,2]]}`, `{"l":[[1,2],[]]}`, `{"l":[[],[1,2]]}`} {
		note(doc, hashOf(t, doc, nested))
	}
	for k, v := range map[record.Kind]string{
		record.Int64: "1", record.Bool: "true", record.Float64: "1", record.Date: `"1970-01-02"`, record.String: `"1"`,
		record.Timestamp: `"1970-01-01T00:00:00.000001Z"`, record.LocalTimestamp: `"1970-01-01T00:00:00.000001"`, record.Bytes: `"MQ=="`,
	} {
		note(k.String(), hashOf(t, `{"x":`+v+`}`, field("x", k)))
	}
	note("decimal", hashOf(t, `{"x":"1"}`, record.Field{Name: "x", Kind: record.Decimal, Precision: 5, Nullable: true}))
	note("zero", floatHash(0, 1))
	note("-zero", floatHash(math.Copysign(0, -1), 1))
}

// TestRowsThatExchangeValues are other rows, though all values of the column are there.
func TestRowsThatExchangeValues(t *testing.T) {
	t.Parallel()
	of := func(docs ...string) (s sum) {
		for _, d := range docs {
			s.add(hashOf(t, d, field("a", record.Int32), field("b", record.Int32)))
		}
		return s
	}
	if x, y := of(`{"a":1,"b":2}`, `{"a":3,"b":4}`), of(`{"a":1,"b":4}`, `{"a":3,"b":2}`); x == y || x.Xor == y.Xor || x.Sum == y.Sum {
		t.Errorf("%v and %v", x, y)
	}
}

// TestDecimalsOfEveryScale compares random numbers with themselves in a greater type.
func TestDecimalsOfEveryScale(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.Int64().Draw(t, "whole")
		scale, more := rapid.IntRange(0, 9).Draw(t, "scale"), rapid.IntRange(0, 9).Draw(t, "more")
		text := string(record.AppendDecimal(nil, record.Int128{Hi: whole >> 63, Lo: uint64(whole)}, scale))
		doc := fmt.Sprintf(`{"d":%q}`, text)
		a, b := hashOf(t, doc, decimal(19, scale)), hashOf(t, doc, decimal(38, scale+more))
		if a != b {
			t.Fatalf("%s as decimal(19,%d) and decimal(38,%d)", text, scale, scale+more)
		}
	})
}
