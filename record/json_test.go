package record_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/record"
)

var everyKind = []record.Field{
	{Name: "b", Kind: record.Bool, Nullable: true},
	{Name: "i", Kind: record.Int32, Nullable: true},
	{Name: "l", Kind: record.Int64},
	{Name: "f", Kind: record.Float64, Nullable: true},
	{Name: "d", Kind: record.Decimal, Precision: 12, Scale: 2, Nullable: true},
	{Name: "w", Kind: record.Decimal, Precision: 38, Scale: 10, Nullable: true},
	{Name: "day", Kind: record.Date, Nullable: true},
	{Name: "at", Kind: record.Timestamp, Nullable: true},
	{Name: "local", Kind: record.LocalTimestamp, Nullable: true},
	{Name: "s ñ\"", Kind: record.String, Nullable: true},
	{Name: "raw", Kind: record.Bytes, Nullable: true},
	{Name: "list", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String, Nullable: true}}},
	{Name: "point", Kind: record.Struct, Nullable: true, Fields: []record.Field{
		{Name: "x", Kind: record.Int32}, {Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.Int64}}},
	}},
}

func schema(t interface{ Fatal(...any) }, fields ...record.Field) *record.Schema {
	s, err := record.NewSchema("test", nil, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// row draws a JSON object of every kind, as AppendJSON would write it.
func row(t *rapid.T) string {
	var parts []string
	add := func(name, value string) {
		if name != "l" && rapid.IntRange(0, 4).Draw(t, "null") == 0 {
			value = "null"
		}
		parts = append(parts, string(record.AppendJSONString(nil, name))+":"+value)
	}
	quote := func(s string) string { return string(record.AppendJSONString(nil, s)) }
	decimal := func(digits, scale int) string {
		sign := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign")
		whole := rapid.StringMatching(fmt.Sprintf("[1-9][0-9]{0,%d}", digits-scale-1)).Draw(t, "whole")
		return quote(sign + whole + "." + rapid.StringMatching(fmt.Sprintf("[0-9]{%d}", scale)).Draw(t, "fraction"))
	}
	add("b", fmt.Sprint(rapid.Bool().Draw(t, "b")))
	add("i", fmt.Sprint(rapid.Int32().Draw(t, "i")))
	add("l", fmt.Sprint(rapid.Int64().Draw(t, "l")))
	add("f", rapid.SampledFrom([]string{`"NaN"`, `"+Inf"`, "0.5", "-1e+300", "5e-324"}).Draw(t, "f"))
	add("d", decimal(12, 2))
	add("w", decimal(38, 10))
	add("day", rapid.SampledFrom([]string{`"0001-01-01"`, `"1969-12-31"`, `"2026-11-24"`, `"9999-12-31"`}).Draw(t, "day"))
	add("at", rapid.SampledFrom([]string{`"1969-12-31T23:59:59.999999Z"`, `"2026-11-24T01:02:03.000004Z"`}).Draw(t, "at"))
	add("local", `"2026-03-29T02:30:00.000000"`)
	add("s ñ\"", quote(rapid.String().Draw(t, "s")))
	add("raw", `"AAH/"`)
	add("list", rapid.SampledFrom([]string{`[]`, `[null]`, `["a",null,"ñ"]`}).Draw(t, "list"))
	add("point", rapid.SampledFrom([]string{`{"x":1,"tags":[1,2]}`, `{"x":-2,"tags":null}`, `{"x":0,"tags":[]}`}).Draw(t, "point"))
	return "{" + strings.Join(parts, ",") + "}"
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := record.NewBuilder(schema(t, everyKind...), 0)
		var want []string
		for range rapid.IntRange(1, 80).Draw(t, "rows") {
			text := row(t)
			if rapid.IntRange(0, 5).Draw(t, "bad") == 0 { // a bad row in between leaves no trace
				if err := b.AppendJSON([]byte(strings.Replace(text, `"l":`, `"l":"x","k":`, 1))); err == nil {
					t.Fatal("a bad row was taken")
				}
			}
			if err := b.AppendJSON([]byte(text)); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			want = append(want, text)
		}
		batch := b.Batch(nil)
		rows := make([]int32, batch.Rows)
		for i := range rows {
			rows[i] = int32(i)
			if got := string(batch.AppendJSON(nil, i)); got != want[i] {
				t.Fatalf("row %d:\n got %s\nwant %s", i, got, want[i])
			}
		}
		rows = rapid.Permutation(rows).Draw(t, "order")
		picked := batch.Select(rows)
		for i, r := range rows {
			if got := string(picked.AppendJSON(nil, i)); got != want[r] {
				t.Fatalf("selected row %d:\n got %s\nwant %s", i, got, want[r])
			}
		}
		if _, err := record.NewBatch(batch.Schema, batch.Rows, batch.Columns, batch.System, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNullStructAfterNullMember has the members' bitmaps end before the last rows: they grow with members alone.
func TestNullStructAfterNullMember(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "p", Kind: record.Struct, Nullable: true, Fields: []record.Field{{Name: "x", Kind: record.Int64, Nullable: true}}})
	b := record.NewBuilder(s, 0)
	for i := range 65 {
		text := `{"p":{"x":null}}`
		if i == 64 {
			text = `{"p":null}`
		}
		if err := b.AppendJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	batch := b.Batch(nil)
	if got := string(batch.Select([]int32{64, 0}).AppendJSON(nil, 0)); got != `{"p":null}` {
		t.Error(got)
	}
	if n := batch.Columns[0].Children[0].Nulls(0, 64); n != 64 {
		t.Errorf("%d nulls", n)
	}
}

func TestJSONNamesEveryBadColumn(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "year", Kind: record.Int32}, record.Field{Name: "title", Kind: record.String},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 4, Scale: 2})
	for object, want := range map[string][]string{
		`{"year":"N/A","title":7}`:                               {"year", "title", "price"},
		`{"year":1,"title":"a","price":"123.45"}`:                {"price"},
		`{"year":1,"title":"a","price":"1.234"}`:                 {"price"},
		`{"year":99999999999,"title":null,"price":"1"}`:          {"year", "title"},
		`{"year":1,"year":2,"title":"a","price":"1","extra":{}}`: {"year", "extra"},
	} {
		err := record.NewBuilder(s, 0).AppendJSON([]byte(object))
		var got []string
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				if c, ok := errors.AsType[*record.ColumnError](e); ok {
					got = append(got, c.Column)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %v\n%s", object, err, diff)
		}
	}
}

func TestTextThatIsNotUTF8IsKept(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "s", Kind: record.String})
	b := record.NewBuilder(s, 1)
	b.Text(0, []byte("a\xff\x00"))
	b.Next()
	text := b.Batch(nil).AppendJSON(nil, 0)
	again := record.NewBuilder(s, 1)
	if err := again.AppendJSON(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if got := again.Batch(nil).Columns[0].Text(0); string(got) != "a\xff\x00" {
		t.Errorf("%s came back as %q", text, got)
	}
}

func TestVersionTextOrdersAsVersions(t *testing.T) {
	t.Parallel()
	word := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Just(uint64(math.MaxUint64)))
	draw := rapid.Custom(func(t *rapid.T) record.Version {
		return record.Version{
			Epoch: rapid.Uint16Range(0, 2).Draw(t, "epoch"), Hi: word.Draw(t, "hi"), Lo: word.Draw(t, "lo"), Index: rapid.Uint32().Draw(t, "index"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		if strings.Compare(a.String(), b.String()) != a.Compare(b) {
			t.Fatalf("%s and %s order otherwise than their versions", a, b)
		}
		n := a.CommonPrefix(b)
		if a.String()[:n] != b.String()[:n] || n < record.VersionLen && a.String()[n] == b.String()[n] {
			t.Fatalf("%s and %s share other than %d characters", a, b, n)
		}
		if back, err := record.ParseVersion(a.String()); err != nil || back != a {
			t.Fatalf("%s came back as %v, %v", a, back, err)
		}
	})
}

func FuzzAppendJSON(f *testing.F) {
	f.Add([]byte(`{"b":true,"i":1,"l":2,"list":["a"],"point":{"x":1,"tags":[3]}}`))
	f.Add([]byte(`{"l":1,"s ñ\"":"\ud83d\ude00"}`))
	f.Add([]byte(`{"l":1,"s ñ\"":{"$base64":"/w=="}}`))
	f.Fuzz(func(t *testing.T, object []byte) {
		s := schema(t, everyKind...)
		b := record.NewBuilder(s, 1)
		if err := b.AppendJSON([]byte(`{"l":7}`)); err != nil {
			t.Fatal(err)
		}
		if b.AppendJSON(object) != nil {
			return
		}
		first := b.Batch(nil).AppendJSON(nil, 1)
		if err := b.AppendJSON(first); err != nil {
			t.Fatalf("%s was written and not read: %v", first, err)
		}
		if second := b.Batch(nil).AppendJSON(nil, 0); string(first) != string(second) {
			t.Fatalf("%s came back as %s", first, second)
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	s := schema(b, everyKind[:4]...)
	object := []byte(`{"b":true,"i":12,"l":1234567,"f":0.5}`)
	builder := record.NewBuilder(s, 10_000)
	b.ReportAllocs()
	for i := range b.N {
		if err := builder.AppendJSON(object); err != nil {
			b.Fatal(err)
		}
		if i%10_000 == 9_999 {
			builder.Batch(nil)
		}
	}
}
