package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources/file"
)

// parquetOf writes rows with the library.
func parquetOf(tb testing.TB, schema parquet.Group, rows ...[]parquet.Value) string {
	tb.Helper()
	var out bytes.Buffer
	w := parquet.NewWriter(&out, parquet.NewSchema("t", schema), parquet.Compression(&parquet.Zstd))
	for _, row := range rows {
		for i := range row {
			definition := 0
			if !row[i].IsNull() && w.Schema().Fields()[i].Optional() {
				definition = 1
			}
			row[i] = row[i].Level(0, definition, i)
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

func v(x any) parquet.Value { return parquet.ValueOf(x) }

type parquetCase struct {
	node   parquet.Node
	value  parquet.Value
	kind   string
	want   string // as JSON
	schema string // declared; "": inferred
}

func parquetCases() map[string]parquetCase {
	id := uuid.MustParse("12345678-9abc-def0-1234-56789abcdef0")
	big := append(bytes.Repeat([]byte{0xff}, 15), 0x85) // -123
	julian := deprecated.Int96{uint32(1_000_000_000_000 & 0xffffffff), uint32(1_000_000_000_000 >> 32), 2_440_589}
	return map[string]parquetCase{
		"bool":      {parquet.Leaf(parquet.BooleanType), v(true), "bool", `true`, ""},
		"int8":      {parquet.Int(8), v(int32(-5)), "int32", `-5`, ""},
		"int64":     {parquet.Int(64), v(int64(-5)), "int64", `-5`, ""},
		"plain int": {parquet.Leaf(parquet.Int64Type), v(int64(-5)), "int64", `-5`, ""},
		"uint16":    {parquet.Uint(16), v(int32(65_535)), "int32", `65535`, ""},
		"uint32":    {parquet.Uint(32), v(int32(-1)), "int64", `4294967295`, ""},
		"uint64":    {parquet.Uint(64), v(int64(-1)), "decimal(20,0)", `"18446744073709551615"`, ""},
		"float":     {parquet.Leaf(parquet.FloatType), v(float32(1.5)), "float32", `1.5`, ""},
		"double":    {parquet.Leaf(parquet.DoubleType), v(1.5), "float64", `1.5`, ""},
		"date":      {parquet.Date(), v(int32(1)), "date", `"1970-01-02"`, ""},
		"millis":    {parquet.Timestamp(parquet.Millisecond), v(int64(1500)), "timestamp", `"1970-01-01T00:00:01.500000Z"`, ""},
		"micros":    {parquet.Timestamp(parquet.Microsecond), v(int64(1500)), "timestamp", `"1970-01-01T00:00:00.001500Z"`, ""},
		"nanos":     {parquet.Timestamp(parquet.Nanosecond), v(int64(1_500_000)), "timestamp", `"1970-01-01T00:00:00.001500Z"`, ""},
		"local": {
			parquet.TimestampAdjusted(parquet.Microsecond, false), v(int64(0)), "local_timestamp",
			`"1970-01-01T00:00:00.000000"`, "",
		},
		"int96":            {parquet.Leaf(parquet.Int96Type), v(julian), "timestamp", `"1970-01-02T00:16:40.000000Z"`, ""},
		"string":           {parquet.String(), v("é"), "string", `"é"`, ""},
		"enum":             {parquet.Enum(), v("A"), "string", `"A"`, ""},
		"json":             {parquet.JSON(), v(`{}`), "string", `"{}"`, ""},
		"bytes":            {parquet.Leaf(parquet.ByteArrayType), v([]byte{255}), "bytes", `"/w=="`, ""},
		"uuid":             {parquet.UUID(), v(id[:]), "string", `"12345678-9abc-def0-1234-56789abcdef0"`, ""},
		"decimal in int32": {parquet.Decimal(2, 9, parquet.Int32Type), v(int32(-125)), "decimal(9,2)", `"-1.25"`, ""},
		"decimal in int64": {parquet.Decimal(2, 18, parquet.Int64Type), v(int64(125)), "decimal(18,2)", `"1.25"`, ""},
		"decimal in bytes": {parquet.Decimal(2, 38, parquet.FixedLenByteArrayType(16)), v(big), "decimal(38,2)", `"-1.23"`, ""},
		"short decimal":    {parquet.Decimal(2, 10, parquet.FixedLenByteArrayType(5)), v(big[11:]), "decimal(10,2)", `"-1.23"`, ""},

		"int to decimal":    {parquet.Int(32), v(int32(-5)), "decimal(12,2)", `"-5.00"`, "decimal(12,2)"},
		"decimal to wider":  {parquet.Decimal(2, 9, parquet.Int32Type), v(int32(-125)), "decimal(30,4)", `"-1.2500"`, "decimal(30,4)"},
		"float to double":   {parquet.Leaf(parquet.FloatType), v(float32(2.5)), "float64", `2.5`, "float64"},
		"int64 to int32":    {parquet.Int(64), v(int64(7)), "int32", `7`, "int32"},
		"text to date":      {parquet.String(), v("2024-02-29"), "date", `"2024-02-29"`, "date"},
		"bytes to string":   {parquet.Leaf(parquet.ByteArrayType), v([]byte("a")), "string", `"a"`, "string"},
		"an int too great":  {parquet.Int(64), v(int64(1) << 40), "int32", "020", "int32"},
		"finer than micros": {parquet.Timestamp(parquet.Nanosecond), v(int64(1_500_001)), "timestamp", "020", ""},
		"text that is none": {parquet.String(), v("\xff"), "string", "023", ""},
		"decimal too great": {parquet.Decimal(0, 9, parquet.Int32Type), v(int32(12345)), "decimal(6,2)", "020", "decimal(6,2)"},
	}
}

func TestParquetTypes(t *testing.T) {
	t.Parallel()
	for name, c := range parquetCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := parquetOf(t, parquet.Group{"x": parquet.Optional(c.node)}, []parquet.Value{c.value}, []parquet.Value{parquet.NullValue()})
			config := file.Config{}
			if c.schema != "" {
				config.Schema = types("x " + c.schema)
			}
			config.Path = filepath.Join(folder(t, map[string]string{"a.parquet": content}), "a.parquet")
			s := source(t, config)
			g := all(t, s)
			if g.err != nil {
				t.Fatal(g.err)
			}
			if have := described(t, s); have != "x "+c.kind {
				t.Error(have)
			}
			want, bad := []string{`{"x":` + c.want + `}`, `{"x":null}`}, []string(nil)
			if strings.HasPrefix(c.want, "0") {
				want = want[1:]
				bad = []string{"a.parquet, row 1 " + c.want + " x"}
			}
			if d := cmp.Diff(want, g.rows); d != "" {
				t.Error(d)
			}
			for i := range g.refused {
				g.refused[i] = g.refused[i][:strings.IndexByte(g.refused[i], '"')-1]
			}
			if d := cmp.Diff(bad, g.refused); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParquetMistakes(t *testing.T) {
	t.Parallel()
	plain := parquetOf(t, parquet.Group{"id": parquet.Int(64), "n": parquet.String()}, []parquet.Value{v(int64(1)), v("a")})
	other := parquetOf(t, parquet.Group{"id": parquet.Int(64), "n": parquet.Leaf(parquet.DoubleType)}, []parquet.Value{v(int64(1)), v(1.5)})
	nested := parquetOf(t, parquet.Group{"id": parquet.Int(64), "tags": parquet.Repeated(parquet.String())})
	hours := parquetOf(t, parquet.Group{"id": parquet.Int(64), "n": parquet.Time(parquet.Microsecond)}, []parquet.Value{
		v(int64(1)),
		v(int64(1)),
	})
	for name, c := range map[string]struct {
		files  map[string]string
		schema []string
		want   []string // nil: no mistake
	}{
		"types differ": {map[string]string{"a.parquet": plain, "b.parquet": other}, nil, []string{
			"ACQ-FILE-011",
			"b.parquet, column n", "float64 in the file and string in the schema",
		}},
		"nested": {map[string]string{"a.parquet": nested}, nil, []string{
			"ACQ-FILE-011", "a.parquet, column tags", "nested",
			"declare a schema without it",
		}},
		"nested, declared": {map[string]string{"a.parquet": nested}, []string{"tags string"}, []string{
			"ACQ-FILE-011", "column tags",
			"nested",
		}},
		"nested, left out":       {map[string]string{"a.parquet": nested}, []string{"id int64"}, nil},
		"a type without a place": {map[string]string{"a.parquet": hours}, nil, []string{"ACQ-FILE-011", "column n", "TIME"}},
		"loses digits":           {map[string]string{"a.parquet": other}, []string{"n float32"}, []string{"ACQ-FILE-011", "column n"}},
		"no column":              {map[string]string{"a.parquet": plain}, []string{"nn string"}, []string{"ACQ-FILE-004", `did you mean "n"`}},
		"cut off":                {map[string]string{"a.parquet": plain[:len(plain)-10]}, nil, []string{"ACQ-FILE-008", "a.parquet"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := source(t, file.Config{Path: folder(t, c.files) + "/*", Schema: types(c.schema...)})
			for what, err := range map[string]error{"check": s.Check(t.Context()), "read": all(t, s).err} {
				for _, want := range c.want {
					if err == nil || !strings.Contains(err.Error(), want) || fault.Of(err) != fault.Fatal {
						t.Errorf("%s: %v, want %s", what, err, want)
					}
				}
				if c.want == nil && err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// Whatever byte of a file is damaged: rows come, or an error that names the file; never a crash.
func TestDamagedParquet(t *testing.T) {
	t.Parallel()
	var rows [][]parquet.Value
	for i := range 500 {
		rows = append(rows, []parquet.Value{v(int64(i)), v(fmt.Sprintf("name %d", i*7919))})
	}
	whole := parquetOf(t, parquet.Group{"id": parquet.Int(64), "n": parquet.String()}, rows...)
	dir := folder(t, nil)
	named := 0
	for at := 4; at < len(whole); at += 1 + len(whole)/300 {
		damaged := []byte(whole)
		damaged[at] ^= 0x55
		path := filepath.Join(dir, fmt.Sprintf("%d.parquet", at))
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		g := all(t, source(t, file.Config{Path: path, Schema: types("id int64", "n string")}))
		e, ok := errors.AsType[*fault.Error](g.err)
		switch {
		case g.err == nil:
		case !ok || !strings.Contains(e.Place, path) || e.Class != fault.Fatal:
			t.Errorf("byte %d: %v", at, g.err)
		case strings.Contains(e.Place, "column"):
			named++
		}
	}
	if named == 0 {
		t.Error("no damage was told of a column")
	}
}

func TestParquetPositions(t *testing.T) {
	t.Parallel()
	var rows [][]parquet.Value
	for i := range 25_000 {
		rows = append(rows, []parquet.Value{v(int64(i))})
	}
	content := parquetOf(t, parquet.Group{"id": parquet.Int(64)}, rows...)
	path := filepath.Join(folder(t, map[string]string{"a.parquet": content}), "a.parquet")
	c := file.Config{Path: path, Schema: types("id int64"), Key: []string{"id"}}
	s := source(t, c)
	whole := all(t, s)
	if whole.err != nil || len(whole.rows) != 25_000 || len(whole.chunks) < 3 {
		t.Fatal(whole.err, len(whole.rows))
	}
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, chunk := range whole.chunks {
		read += chunk.Batches[0].Rows
		rest := &got{}
		rest.readLane(t.Context(), source(t, c), lanes[0], chunk.To)
		if rest.err != nil || strings.Join(rest.events, "|") != strings.Join(whole.events[read:], "|") {
			t.Errorf("after row %d: %v", read, rest.err)
		}
	}
	if err := os.WriteFile(path, []byte(parquetOf(t, parquet.Group{"id": parquet.Int(64)}, rows[:100]...)), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := &got{}
	if rest.readLane(t.Context(), s, lanes[0], whole.chunks[0].To); fault.Code(rest.err) != "ACQ-FILE-007" {
		t.Error(rest.err)
	}
}
