package cast_test

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/cast"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

func handler(tb testing.TB, columns ...string) *cast.Handler {
	tb.Helper()
	var c cast.Config
	for i := 0; i < len(columns); i += 2 {
		c.Columns = append(c.Columns, config.Entry[string]{Name: columns[i], Value: columns[i+1]})
	}
	h, err := cast.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// convert gives a value in another type, as text, or the reason why it is refused.
func convert(tb testing.TB, from, to, text string) (string, error) {
	tb.Helper()
	f, err := record.ParseType("v", from)
	if err != nil {
		tb.Fatal(err)
	}
	s := schema(tb, f)
	b := record.NewBuilder(s, 1)
	if f.Kind == record.String || f.Kind == record.Bytes {
		b.Text(1, []byte(text))
		b.Next()
	} else {
		value := text
		if f.Kind != record.Bool && f.Kind != record.Int32 && f.Kind != record.Int64 && (text == "NaN" || !strings.HasPrefix(from, "float")) {
			value = strconv.Quote(text)
		}
		if err := b.AppendJSON([]byte(`{"id":1,"v":` + value + `}`)); err != nil {
			tb.Fatalf("%s %s: %v", from, text, err)
		}
	}
	out, err := handler(tb, "v", to).Handle(tb.Context(), b.Batch(nil))
	if err != nil {
		return "", err
	}
	return string(record.AppendText(nil, &out[0].Schema.Fields[1], &out[0].Columns[1], 0)), nil
}

type valueCase struct{ from, to, in, want string }

func boolCases() []valueCase {
	return []valueCase{
		{"bool", "int32", "true", "1"},
		{"bool", "string", "false", "false"},
		{"int32", "bool", "1", "true"},
		{"int32", "bool", "2", ""},
	}
}

func valueCases() []valueCase {
	return []valueCase{ // no want: it is refused
		{"int64", "int32", "2147483648", ""},
		{"int64", "float32", "16777216", "1.6777216e+07"},
		{"int64", "float32", "16777217", ""},
		{"int64", "float64", "9007199254740993", ""},
		{"int64", "float64", "9223372036854775807", ""},
		{"int64", "decimal(5,2)", "-999", "-999.00"},
		{"int64", "decimal(5,2)", "1000", ""},
		{"int64", "decimal(38,19)", "9223372036854775807", "9223372036854775807.0000000000000000000"},
		{"float64", "int32", "-2147483648", "-2147483648"},
		{"float64", "int32", "2147483648", ""},
		{"float64", "int64", "9223372036854775808", ""},
		{"float64", "float32", "0.5", "0.5"},
		{"float64", "float32", "0.1", ""},
		{"float64", "float32", "1e300", ""},
		{"float64", "float32", "NaN", "NaN"},
		{"float32", "float64", "0.1", "0.10000000149011612"},
		{"float32", "decimal(4,1)", "0.1", "0.1"},
		{"float64", "decimal(4,1)", "0.1", "0.1"},
		{"float64", "decimal(4,1)", "0.15", ""},
		{"float64", "decimal(38,38)", "1e-38", "0.00000000000000000000000000000000000001"},
		{"float64", "decimal(38,0)", "1e37", "10000000000000000000000000000000000000"},
		{"float64", "string", "1e300", "1e+300"},
		{"decimal(10,2)", "int64", "5.00", "5"},
		{"decimal(10,2)", "int64", "5.01", ""},
		{"decimal(38,0)", "int64", "-9223372036854775808", "-9223372036854775808"},
		{"decimal(38,0)", "int64", "9223372036854775808", ""},
		{"decimal(38,0)", "int64", "36893488147419103233", ""},
		{"decimal(10,2)", "float64", "0.10", "0.1"},
		{"decimal(10,2)", "float32", "16777217.00", ""},
		{"decimal(38,19)", "float64", "0.1234567890123456789", ""},
		{"decimal(10,2)", "decimal(10,3)", "1.25", "1.250"},
		{"decimal(10,2)", "decimal(10,1)", "1.25", ""},
		{"decimal(10,2)", "decimal(3,1)", "100.00", ""},
		{"decimal(38,2)", "decimal(4,2)", "-99.99", "-99.99"},
		{"decimal(20,2)", "string", "-0.05", "-0.05"},
		{"date", "string", "1969-12-31", "1969-12-31"},
		{"date", "timestamp", "1969-12-31", "1969-12-31T00:00:00.000000Z"},
		{"timestamp", "date", "1969-12-31T00:00:00Z", "1969-12-31"},
		{"timestamp", "date", "1969-12-31T00:00:01Z", ""},
		{"timestamp", "local_timestamp", "2026-11-28T08:00:00+02:00", "2026-11-28T06:00:00.000000"},
		{"local_timestamp", "date", "2026-11-28T00:00:00", "2026-11-28"},
		{"local_timestamp", "string", "2026-11-28T00:00:00.5", "2026-11-28T00:00:00.500000"},
		{"string", "int64", "-9223372036854775808", "-9223372036854775808"},
		{"string", "int64", "18446744073709551617", ""},
		{"string", "int64", "340282366920938463463374607431768211457", ""},
		{"string", "int32", "+7.000", "7"},
		{"string", "int32", "1_000", ""},
		{"string", "decimal(10,2)", ".5", "0.50"},
		{"string", "decimal(10,2)", "-0.005", ""},
		{"string", "decimal(3,2)", "000000000000000000000000000000000000000000009.99", "9.99"},
		{"string", "decimal(3,2)", "9.99000000000000000000000000000000000000000000000", "9.99"},
		{"string", "decimal(38,38)", "-0.12345678901234567890123456789012345678", "-0.12345678901234567890123456789012345678"},
		{"string", "float64", "0.1", "0.1"},
		{"string", "float64", "0.1000000000000000055511151231257827", "0.1"},
		{"string", "float64", "0.1000000000000000055511151231257828", ""},
		{"string", "float64", "5e-324", "5e-324"},
		{"string", "float64", "-0", "-0"},
		{"string", "float64", "-Infinity", "-Inf"},
		{"string", "float64", "infinity", ""},
		{"string", "float64", "", ""},
		{"string", "float32", "3.4028235e38", "3.4028235e+38"},
		{"string", "float32", "16777217", ""},
		{"string", "date", "0001-01-01", "0001-01-01"},
		{"string", "date", "9999-12-31", "9999-12-31"},
		{"string", "date", "2026-13-01", ""},
		{"string", "timestamp", "2026-11-28T08:00:00.000001-03:30", "2026-11-28T11:30:00.000001Z"},
		{"string", "timestamp", "2026-11-28T08:00:00.123456789Z", ""},
		{"string", "timestamp", "2026-11-28T08:00:00.1234560000000Z", "2026-11-28T08:00:00.123456Z"},
		{"string", "timestamp", "2026-11-28T08:00:00.0000000000001Z", ""},
		{"string", "timestamp", "2026-11-28 08:00", ""},
		{"string", "local_timestamp", "2026-11-28 08:00:00.25", "2026-11-28T08:00:00.250000"},
		{"string", "local_timestamp", "2026-11-28T08:00:00+01:00", ""},
		{"bytes", "string", "Pok\xc3\xa9mon", "Pokémon"},
		{"bytes", "string", "\xc3", ""},
		{"string", "bytes", "abc", "abc"},
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range append(boolCases(), valueCases()...) {
		got, err := convert(t, c.from, c.to, c.in)
		rows, refused := errors.AsType[*fault.Rows](err)
		switch {
		case c.want == "" && !refused:
			t.Errorf("%s %s to %s: got %q, %v, want it refused", c.from, c.in, c.to, got, err)
		case refused && (len(rows.Bad) != 1 || rows.Bad[0].Column != "v" || fault.Of(rows.Bad[0].Err) != fault.Poison):
			t.Errorf("%s %s to %s: %v", c.from, c.in, c.to, err)
		case c.want != "" && (err != nil || got != c.want):
			t.Errorf("%s %s to %s: got %q, %v, want %q", c.from, c.in, c.to, got, err, c.want)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"N/A":                              `row 0, column v: "N/A" does not become int32 exactly`,
		strings.Repeat("é", 64):            `"` + strings.Repeat("é", 64) + `" does`,
		strings.Repeat("é", 65):            `"` + strings.Repeat("é", 64) + `"... does`,
		strings.Repeat("\x00", 5000):       `\x00"... does`,
		strings.Repeat("\U0001f3ae", 1000): "\U0001f3ae\"... does",
	} {
		_, err := convert(t, "string", "int32", in)
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 || !utf8.ValidString(err.Error()) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestDeletes: a delete passes with null or zero in what cannot be converted, but not in its key.
func TestDeletes(t *testing.T) {
	t.Parallel()
	text := func(name string, nullable bool) record.Field {
		return record.Field{Name: name, Kind: record.String, Nullable: nullable}
	}
	s, err := record.NewSchema("s", []string{"key"}, text("key", false), text("a", false), text("b", true), text("c", true))
	if err != nil {
		t.Fatal(err)
	}
	h := handler(t, "key", "int64", "a", "int32", "b", "decimal(20,2)", "c", "float32")
	made := func(op record.Op, key string) *record.Batch {
		b := record.NewBuilder(s, 2)
		for _, k := range []string{"1", key} {
			for column, v := range []string{k, "x", "y", "z"} {
				b.String(column, v)
			}
			b.Next()
		}
		b.System().Ops = []record.Op{op}
		return b.Batch(nil)
	}
	out, err := h.Handle(t.Context(), made(record.Delete, "2"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out[0].AppendJSON(nil, 1)); got != `{"key":2,"a":0,"b":null,"c":null}` {
		t.Errorf("got %s", got)
	}
	if _, err := h.Handle(t.Context(), made(record.Truncate, "x")); err != nil {
		t.Errorf("a truncate was refused: %v", err)
	}
	if _, err = h.Handle(t.Context(), made(record.Delete, "x")); err == nil || !strings.Contains(err.Error(), "row 1, column key") {
		t.Errorf("a delete of another record: %v", err)
	}
	_, err = h.Handle(t.Context(), made(record.Insert, "x"))
	if rows, ok := errors.AsType[*fault.Rows](err); !ok || len(rows.Bad) != 2 || rows.Bad[0].Column != "a" || rows.Bad[1].Column != "key" {
		t.Errorf("each bad row has the first reason: %v", err)
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	s := schema(
		t, record.Field{Name: "year", Kind: record.Int32}, record.Field{Name: "who", Kind: record.Struct, Fields: []record.Field{{Name: "n", Kind: record.Int32}}},
		record.Field{Name: "blob", Kind: record.Bytes, Nullable: true},
	)
	out, err := handler(t, "blob", "string", "id", "string").Shape(s)
	if err != nil {
		t.Fatal(err)
	}
	if f := out.Fields[3]; f.Kind != record.String || !f.Nullable || out.Fields[0].Kind != record.String || out.KeyNames()[0] != "id" {
		t.Errorf("got %+v", out)
	}
	if same, err := handler(t, "year", "int32").Shape(s); err != nil || same != s {
		t.Errorf("nothing changes and the schema is another: %v", err)
	}
	_, err = handler(t, "yeer", "int64", "year", "date", "who", "int32", "blob", "int64", "id", "bytes").Shape(s)
	if fault.Code(err) != "ACQ-CAST-001" || fault.Of(err) != fault.Fatal {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"yeer: no column has this name (did you mean year?)", "year: is int32, which never becomes date (what it counts",
		"who: is struct, which never becomes int32 (flatten gives", "blob: is bytes, which never becomes int64", "id: is int64, which never becomes bytes",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestShared: a column whose values are held alike is not copied.
func TestShared(t *testing.T) {
	t.Parallel()
	b := record.NewBuilder(schema(t, record.Field{Name: "v", Kind: record.Int64}), 1)
	b.Int(1, 1998)
	b.Next()
	in := b.Batch(nil)
	out, err := handler(t, "v", "int32").Handle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if &out[0].Columns[1].Ints[0] != &in.Columns[1].Ints[0] {
		t.Error("the values were copied")
	}
}

// FuzzText reads what people send: what is taken is what it says, by other readers.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"1.50", "-0", "1e5", "2026-11-28T08:00:00.5Z", "2026-11-28 08:00:00", "9223372036854775808", "+.5", "0.1000000000000000055"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("a string column holds UTF-8")
		}
		for _, to := range []string{"int64", "decimal(12,3)", "decimal(38,10)", "float64"} {
			got, err := convert(t, "string", to, text)
			if err != nil || len(text) > 300 || strings.ContainsAny(text, "fN") {
				continue
			}
			if to == "float64" {
				nearest, err := strconv.ParseFloat(text, 64)
				if v, _ := strconv.ParseFloat(got, 64); err != nil || math.Float64bits(v) != math.Float64bits(nearest) {
					t.Errorf("%q became the %s %s, not %v", text, to, got, nearest)
				}
				continue
			}
			want, ok := new(big.Rat).SetString(text)
			have, ok2 := new(big.Rat).SetString(got)
			if !ok || !ok2 || want.Cmp(have) != 0 {
				t.Errorf("%q became the %s %s", text, to, got)
			}
		}
		if got, err := convert(t, "string", "timestamp", text); err == nil {
			want, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "T", 1))
			if err != nil || want.UTC().Format("2006-01-02T15:04:05.000000Z") != got {
				t.Errorf("%q became the timestamp %s, not %v %v", text, got, want, err)
			}
		}
		for _, to := range []string{"date", "local_timestamp", "bool", "float32", "int32"} {
			got, err := convert(t, "string", to, text)
			if err != nil {
				continue
			}
			if again, err := convert(t, "string", to, got); err != nil || again != got {
				t.Errorf("%q became the %s %s, and that %s, %v", text, to, got, again, err)
			}
		}
	})
}
