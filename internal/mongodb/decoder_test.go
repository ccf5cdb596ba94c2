package mongodb_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
)

func decimal(tb testing.TB, text string) bson.Decimal128 {
	tb.Helper()
	d, err := bson.ParseDecimal128(text)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// everyType is a document a type of BSON.
func everyType() []bson.D {
	id := bson.ObjectID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	d, _ := bson.ParseDecimal128("-12.340")
	values := []any{
		nil, true, int32(-5), int64(1) << 60, 1.5, math.Inf(1), math.NaN(), math.Copysign(0, -1), 1e300, "a\"\n\u2028é", "", id, bson.DateTime(-1), bson.DateTime(1 << 60), d,
		bson.Timestamp{T: math.MaxUint32, I: 7},
		bson.Binary{Data: []byte{0, 1}},
		bson.Binary{Subtype: bson.TypeBinaryUUID, Data: make([]byte, 16)},
		bson.Binary{Subtype: bson.TypeBinaryBinaryOld, Data: []byte("x")},
		bson.Regex{Pattern: "^a/", Options: "xi"},
		bson.JavaScript("f()"), bson.Symbol("s"),
		bson.CodeWithScope{Code: "g()", Scope: bson.D{{Key: "x", Value: int32(1)}}},
		bson.DBPointer{DB: "a.b", Pointer: id},
		bson.MinKey{},
		bson.MaxKey{},
		bson.Undefined{},
		bson.D{},
		bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: bson.A{int32(1), nil, "x"}}}}},
		bson.A{},
		bson.A{"a", "b"},
		bson.A{bson.A{1.5}},
	}
	var docs []bson.D
	for _, v := range values {
		docs = append(docs, bson.D{{Key: "_id", Value: int32(1)}, {Key: "v", Value: v}})
	}
	return docs
}

// TestJSON writes every type as the driver does, and it is read back as it was.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, doc := range everyType() {
		raw, err := bson.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mongodb.AppendJSON(nil, mongodb.Value{Type: bson.TypeEmbeddedDocument, Data: raw})
		if err != nil {
			t.Errorf("%v: %v", doc, err)
			continue
		}
		var back bson.D
		if err := bson.UnmarshalExtJSON(got, true, &back); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		again, err := bson.Marshal(back)
		if _, regex := doc[1].Value.(bson.Regex); err != nil || !bytes.Equal(again, raw) && !regex { // the driver sorts options
			t.Errorf("%s is not %v", got, doc)
		}
	}
}

// TestEqualKeys gives numbers that the server takes for equal one key, and other values other keys.
func TestEqualKeys(t *testing.T) {
	t.Parallel()
	one := []any{int32(1), int64(1), 1.0, decimal(t, "1"), decimal(t, "1.000"), decimal(t, "10E-1")}
	half := []any{0.5, decimal(t, "0.5"), decimal(t, "0.50")}
	large := []any{1e22, decimal(t, "1E22"), decimal(t, "10000000000000000000000")}
	nan := []any{math.NaN(), decimal(t, "NaN")}
	zero := []any{0.0, math.Copysign(0, -1), int32(0), decimal(t, "0E5"), decimal(t, "-0")}
	tenth := []any{0.1}
	exact := []any{decimal(t, "0.1")}
	text := []any{"1"}
	inf := []any{math.Inf(-1), decimal(t, "-Infinity")}
	seen := map[string]int{}
	for i, class := range [][]any{one, half, large, nan, zero, tenth, exact, text, inf, {true}, {bson.DateTime(1)}, {bson.Timestamp{I: 1}}, {bson.RawValue{Type: bson.TypeNull}}} {
		for _, v := range class {
			kind, data, err := bson.MarshalValue(v)
			if err != nil {
				t.Fatal(err)
			}
			key, err := mongodb.AppendKey(nil, mongodb.Value{Type: kind, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[string(key)]; ok && other != i {
				t.Errorf("%v has the key %s, which others have", v, key)
			}
			seen[string(key)] = i
			back, err := mongodb.KeyValue(string(key))
			if err != nil {
				t.Fatal(err)
			}
			if again, err := mongodb.AppendKey(nil, back); err != nil || !bytes.Equal(again, key) {
				t.Errorf("%s is read back as %s (%v)", key, again, err)
			}
		}
	}
	if len(seen) != 13 {
		t.Errorf("%d keys for 13 values: %v", len(seen), seen)
	}
}

// TestNumbers has decimals at the limits of their column: exact, or beside it.
func TestNumbers(t *testing.T) {
	t.Parallel()
	columns := []mongodb.Column{
		{Name: "d", Path: []string{"d"}, Type: "decimal(38,2)"},
		{Name: "n", Path: []string{"n"}, Type: "decimal(5,1)"},
		{Name: "f", Path: []string{"f"}, Type: "float64"},
		{Name: "i", Path: []string{"i"}, Type: "int32"},
		{Name: "t", Path: []string{"t"}, Type: "decimal128"},
	}
	for _, c := range []struct {
		field string
		value any
		want  string // of the column; "": it is beside
	}{
		{"d", decimal(t, "123456789012345678901234567890.12"), "123456789012345678901234567890.12"},
		{"d", decimal(t, "-0.01"), "-0.01"},
		{"d", decimal(t, "1E30"), "1000000000000000000000000000000.00"},
		{"d", decimal(t, "1E36"), ""},
		{"d", decimal(t, "1E6000"), ""},
		{"d", decimal(t, "0E6000"), "0.00"},
		{"d", decimal(t, "0.001"), ""},
		{"d", decimal(t, "NaN"), ""},
		{"d", int64(math.MinInt64), "-9223372036854775808.00"},
		{"d", 1.5, ""},
		{"n", int32(9999), "9999.0"},
		{"n", int32(10000), ""},
		{"n", decimal(t, "-9999.9"), "-9999.9"},
		{"f", int32(7), "7"},
		{"f", int64(1) << 53, "9.007199254740992e+15"},
		{"f", int64(1)<<53 + 1, ""},
		{"f", math.Inf(1), "+Inf"},
		{"f", "7", ""},
		{"i", int64(7), ""},
		{"i", 7.0, ""},
		{"t", decimal(t, "1.10"), "1.10"},
		{"t", decimal(t, "Infinity"), "Infinity"},
	} {
		layout, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: "s", Columns: columns})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := bson.Marshal(bson.D{{Key: "_id", Value: "k"}, {Key: c.field, Value: c.value}})
		if err != nil {
			t.Fatal(err)
		}
		d := layout.Decoder()
		if err := d.Add(raw); err != nil {
			t.Fatal(err)
		}
		b, err := d.Batch(func(int, *record.System) {})
		if err != nil {
			t.Fatal(err)
		}
		i, beside := b.Schema.Index(c.field), b.Schema.Index(c.field+mongodb.RawSuffix)
		if got := string(record.AppendText(nil, &b.Schema.Fields[i], &b.Columns[i], 0)); got != c.want {
			t.Errorf("%s: %v became %q, want %q", c.field, c.value, got, c.want)
		}
		if (beside >= 0) != (c.want == "") {
			t.Errorf("%s: %v, column beside: %v", c.field, c.value, beside >= 0)
		}
		if n := d.Unfit()[c.field+mongodb.RawSuffix]; (n == 1) != (c.want == "") {
			t.Errorf("%s: %v counted %d times", c.field, c.value, n)
		}
	}
}

// TestRefused has documents that no record can hold: each is told with its key, and those around it are there.
func TestRefused(t *testing.T) {
	t.Parallel()
	layout, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: "s", Columns: []mongodb.Column{{Name: "a", Path: []string{"a"}, Type: "string"}, {Name: "l", Path: []string{"l"}, Type: "list(string)"}}})
	if err != nil {
		t.Fatal(err)
	}
	marshal := func(doc bson.D) []byte {
		raw, err := bson.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	d := layout.Decoder()
	good := func(id string) []byte {
		return marshal(bson.D{{Key: "_id", Value: id}, {Key: "a", Value: "x"}, {Key: "a", Value: "twice"}, {Key: "l", Value: bson.A{"p", nil}}})
	}
	deep := bson.D{{Key: "x", Value: int32(1)}}
	for range 300 {
		deep = bson.D{{Key: "x", Value: deep}}
	}
	for _, c := range []struct {
		doc  []byte
		want string // of the error; "": it is taken
	}{
		{good("1"), ""},
		{marshal(bson.D{{Key: "_id", Value: "2"}, {Key: "l", Value: bson.A{"ok", "\xff"}}, {Key: "a", Value: "y"}}), "s, key s:2, column l: a text is no UTF-8"},
		{marshal(bson.D{{Key: "a", Value: "z"}}), "s, column _id: the document has no _id"},
		{marshal(bson.D{{Key: "_id", Value: "3"}, {Key: "deep", Value: deep}}), "nested more than 200 deep"},
		{[]byte{9, 0, 0, 0, 1, 2, 3, 4, 0}, "the document is no BSON"},
		{good("4"), ""},
	} {
		err := d.Add(c.doc)
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		e, ok := errors.AsType[*mongodb.RowError](err)
		if !ok || len(e.Raw) == 0 {
			t.Errorf("want %s, got %v", c.want, err)
			continue
		}
		if told := e.Poison("s"); fault.Of(told) != fault.Poison || !strings.Contains(told.Error(), c.want) {
			t.Errorf("want %s, got %v", c.want, told)
		}
	}
	b, err := d.Batch(func(int, *record.System) {})
	if err != nil {
		t.Fatal(err)
	}
	if b.Rows != 2 {
		t.Fatalf("%d rows", b.Rows)
	}
	for row := range b.Rows {
		if got := string(b.AppendJSON(nil, row)); !strings.Contains(got, `"a":"x","l":["p",null],"_rest":"{\"a\":\"twice\"}"`) {
			t.Error(got)
		}
	}
}

// TestKept has columns that the stream had before: those that are gone are null, wider types widen, others are an error.
func TestKept(t *testing.T) {
	t.Parallel()
	kept, err := record.NewSchema("s", []string{"_id"}, record.Field{Name: "_id", Kind: record.String}, record.Field{Name: "a", Kind: record.Int64, Nullable: true},
		record.Field{Name: "gone", Kind: record.String, Nullable: true}, record.Field{Name: "a__raw", Kind: record.String, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	column := func(kind string) []mongodb.Column {
		return []mongodb.Column{{Name: "a", Path: []string{"a"}, Type: kind}}
	}
	layout, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: "s", Kept: kept, Columns: column("int32")})
	if err != nil {
		t.Fatal(err)
	}
	if f := layout.Schema.Fields; len(f) != 4 || f[1].Kind != record.Int64 || f[2].Name != "gone" || f[3].Name != "a__raw" {
		t.Errorf("fields: %v", f)
	}
	if _, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: "s", Kept: kept, Columns: column("string")}); err == nil || !strings.Contains(err.Error(), "ACQ-MG-022: s, column a: its type became string, and was int64") {
		t.Error(err)
	}
	for _, columns := range [][]mongodb.Column{
		{{Name: "a", Path: []string{"a"}, Type: "json"}, {Name: "a_b", Path: []string{"a", "b"}, Type: "json"}},
		{{Name: "a_b", Path: []string{"a", "b"}, Type: "json"}, {Name: "a", Path: []string{"a"}, Type: "json"}},
		{{Name: "a", Path: []string{"a"}, Type: "varchar"}},
		{{Name: "_id", Path: []string{"_id"}, Type: "float64"}},
	} {
		if _, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: "s", Columns: columns}); err == nil || fault.Code(err) != "ACQ-MG-020" {
			t.Errorf("%v: %v", columns, err)
		}
	}
}
