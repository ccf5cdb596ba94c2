package postgres_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// extensions of contrib, and types made of others.
var prelude = []string{
	"CREATE EXTENSION hstore", "CREATE EXTENSION citext", "CREATE EXTENSION ltree",
	"CREATE TYPE mood AS ENUM ('sad', 'so so', 'ha\"ppy')", "CREATE DOMAIN price AS numeric(10,2) CHECK (value > -1000000)",
	"CREATE DOMAIN prices AS price[]", "CREATE DOMAIN label AS varchar(20)", "CREATE DOMAIN label2 AS label",
	"CREATE TYPE point3 AS (x int, y numeric(6,2), note text)", "CREATE TYPE nested AS (p point3, at timestamptz, tags text[])",
	"CREATE TYPE mixed AS (a int, n inet)", "CREATE TYPE floats AS (a float8, b float4)",
}

// kind is a type with texts that it takes as input.
type kind struct {
	name   string
	key    bool // its values can be compared
	values func(r *rand.Rand) string
	fixed  []string // values that are tried in any case
}

func one(values ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return values[r.IntN(len(values))] }
}

func digits(r *rand.Rand, n int) string {
	s := make([]byte, n)
	for i := range s {
		s[i] = byte('0' + r.IntN(10))
		if r.IntN(3) == 0 {
			s[i] = '0'
		}
	}
	return string(s)
}

// number gives a number of at most so many digits before and behind the point.
func number(before, after int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		s := []string{"", "-"}[r.IntN(2)] + "0" + digits(r, r.IntN(before+1))
		if n := r.IntN(after + 1); n > 0 {
			s += "." + digits(r, n)
		}
		return s
	}
}

func integer(low, high int64) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		if r.IntN(2) == 0 {
			return strconv.FormatInt(int64(r.IntN(100)), 10)
		}
		return strconv.FormatInt(low+int64(r.Uint64N(max(uint64(high-low), uint64(high-low)+1))), 10)
	}
}

var pieces = []string{"", "a", "Zoë", "日本語", "😀", `"`, `\`, "{", "}", ",", "(", ")", " ", "\t", "\n", "NULL", "null", "'", "x=>y", "=>", "\u00a0", "\v", "sixteen letters!"}

func text(r *rand.Rand) string {
	var s strings.Builder
	for range r.IntN(6) {
		s.WriteString(pieces[r.IntN(len(pieces))])
	}
	return s.String()
}

func day(r *rand.Rand) string {
	if r.IntN(8) == 0 {
		return one("infinity", "-infinity", "0044-03-15 BC", "4713-01-01 BC", "0001-01-01", "9999-12-31", "10000-01-01", "0001-12-31 BC", "2000-02-29", "1900-02-28")(r)
	}
	return fmt.Sprintf("%04d-%02d-%02d", 1+r.IntN(9999), 1+r.IntN(12), 1+r.IntN(28))
}

func clock(r *rand.Rand) string {
	return fmt.Sprintf("%02d:%02d:%02d", r.IntN(24), r.IntN(60), r.IntN(60)) + []string{"", ".5", ".000001", ".123456", ".120"}[r.IntN(5)]
}

func moment(r *rand.Rand) string {
	d := day(r)
	if strings.HasSuffix(d, "infinity") {
		return d
	}
	d, bc := strings.CutSuffix(d, " BC")
	if d += " " + clock(r); bc {
		d += " BC"
	}
	return d
}

func elements(of func(*rand.Rand) string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var s []string
		for range r.IntN(5) {
			if r.IntN(6) == 0 {
				s = append(s, "NULL")
				continue
			}
			s = append(s, strconv.Quote(strings.NewReplacer("\n", " ", "\t", " ", "\v", " ").Replace(of(r))))
		}
		if len(s) > 0 && r.IntN(8) == 0 {
			return []string{"{{" + s[0] + "},{" + s[0] + "}}", fmt.Sprintf("[0:%d]={%s}", len(s)-1, strings.Join(s, ","))}[r.IntN(2)]
		}
		return "{" + strings.Join(s, ",") + "}"
	}
}

func composite(of ...func(*rand.Rand) string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		s := make([]string, len(of))
		for i, f := range of {
			if r.IntN(6) > 0 {
				s[i] = `"` + strings.NewReplacer(`"`, `""`, `\`, `\\`).Replace(f(r)) + `"`
			}
		}
		return "(" + strings.Join(s, ",") + ")"
	}
}

func float(bits int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		v := math.Float64frombits(r.Uint64())
		switch r.IntN(4) {
		case 0:
			v = float64(r.IntN(2000)-1000) / 8
		case 1:
			v = math.Ldexp(1, r.IntN(120)-60)
		}
		if bits == 32 {
			v = float64(math.Float32frombits(r.Uint32()))
			if r.IntN(2) == 0 {
				v = float64(float32(r.NormFloat64()))
			}
		}
		return strings.NewReplacer("+Inf", "Infinity", "-Inf", "-Infinity").Replace(strconv.FormatFloat(v, 'g', -1, bits))
	}
}

func hexadecimal(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		return fmt.Sprintf("%x", b)
	}
}

func kinds() []kind { return slices.Concat(numbers(), texts(), nested(), others()) }

func numbers() []kind {
	special := []string{"NaN", "Infinity", "-Infinity", "0", "-0"}
	return []kind{
		{"int2", true, integer(math.MinInt16, math.MaxInt16), []string{"-32768", "32767"}},
		{"int4", true, integer(math.MinInt32, math.MaxInt32), []string{"-2147483648", "2147483647"}},
		{"int8", true, integer(math.MinInt64, math.MaxInt64), []string{"-9223372036854775808", "9223372036854775807"}},
		{"oid", true, integer(0, math.MaxUint32), []string{"4294967295"}},
		{"xid", false, integer(0, math.MaxUint32), nil},
		{"xid8", true, integer(0, math.MaxInt64), []string{"18446744073709551615"}},
		{"numeric(12,2)", true, number(10, 2), []string{"9999999999.99", "-9999999999.99", "0.01", "NaN", "0"}},
		{"numeric(18,0)", true, number(18, 0), []string{"999999999999999999", "-999999999999999999", "10000000000000000"}},
		{"numeric(18,18)", true, number(0, 18), []string{"0.999999999999999999", "0.000000000000000001"}},
		{"numeric(18,9)", true, number(9, 9), []string{"999999999.999999999"}},
		{"numeric(19,4)", true, number(15, 4), []string{"999999999999999.9999", "NaN"}},
		{"numeric(38,10)", true, number(28, 10), []string{strings.Repeat("9", 28) + ".9999999999", "-" + strings.Repeat("9", 28) + ".9999999999", "NaN"}},
		{"numeric(38,0)", true, number(38, 0), []string{strings.Repeat("9", 38)}},
		{"numeric(38,38)", true, number(0, 38), []string{"0." + strings.Repeat("9", 38), "0." + strings.Repeat("0", 37) + "1"}},
		{"numeric(5,-2)", true, number(7, 0), []string{"9999900", "100"}},
		{"numeric(3,5)", true, func(r *rand.Rand) string { return "0.00" + digits(r, 3) }, []string{"0.00999", "-0.00001"}},
		{"numeric(39,2)", true, number(37, 2), []string{"NaN"}},
		{"numeric", true, number(60, 40), append(special, "1e400", "1.10", "0.00", "1e-300", "123456789012345678901234567890.5")},
		{"float4", true, float(32), special},
		{"float8", true, float(64), append(special, "5.684341886080802e-14", "5e-324", "1.7976931348623157e308", "1e15", "999999999999999", "0.0001", "0.00001")},
		{"money", true, number(9, 2), nil},
	}
}

func texts() []kind {
	return []kind{
		{"bool", true, one("t", "f"), nil},
		{"text", true, text, []string{""}},
		{"varchar(30)", true, func(r *rand.Rand) string { return string([]rune(text(r) + strings.Repeat(" ", 30))[:30]) }, nil},
		{"char(20)", true, func(r *rand.Rand) string { return string([]rune(text(r) + strings.Repeat(" ", 20))[:20]) }, []string{"", "a"}},
		{"name", true, text, nil},
		{`"char"`, false, one("a", "", "~"), nil},
		{"citext", true, text, nil},
		{"bytea", true, func(r *rand.Rand) string { return `\x` + hexadecimal(r.IntN(20))(r) }, []string{`\x`}},
		{"date", true, day, []string{"5874897-12-31"}},
		{"timestamp", true, moment, []string{"294276-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC", "9999-12-31 23:59:59.999999", "10000-01-01", "0001-12-31 23:59:59.999999 BC"}},
		{"timestamptz", true, moment, []string{"294276-12-31 23:59:59.999999", "0001-01-01 00:00:00", "2026-03-29 02:30:00+05"}},
		{"time", true, clock, []string{"24:00:00"}},
		{"timetz", true, func(r *rand.Rand) string { return clock(r) + one("+00", "-08", "+05:30", "+05:30:15", "-15:59")(r) }, []string{"24:00:00+00"}},
		{"interval", true, func(r *rand.Rand) string {
			return fmt.Sprintf("%d mons %d days %s%d.%06d seconds", r.IntN(60)-30, r.IntN(60)-30, []string{"", "-"}[r.IntN(2)], r.IntN(200000), r.IntN(4)*250001)
		}, []string{"0", "1 mon", "30 days", "-1 mon +2 days -03:04:05.6", "178000000 years", "-0.000001 seconds", "-1 hour", "-90 seconds"}},
		{"uuid", true, hexadecimal(16), nil},
		{"json", false, func(r *rand.Rand) string { return `{"a" : ` + strconv.Quote("x") + `, "a": 1` + digits(r, 25) + "}" }, []string{"1e400", "null", `  "x" `}},
		{"jsonb", true, func(r *rand.Rand) string { return `{"b":[1, "é", null], "a":1e` + strconv.Itoa(r.IntN(400)) + "}" }, []string{"1e400", "null"}},
		{"mood", true, one("sad", "so so", `ha"ppy`), nil},
		{"price", true, number(5, 2), []string{"NaN"}},
		{"label2", true, one("a", "b c"), nil},
	}
}

func nested() []kind {
	point3 := composite(integer(-5, 5), number(3, 2), text)
	return []kind{
		{"int4[]", true, elements(integer(-9, 9)), []string{"{}", "[5:6]={1,2}", "{{{1}}}"}},
		{"text[]", true, elements(text), []string{`{""}`, `{"NULL",NULL}`}},
		{"numeric(6,2)[]", true, elements(number(3, 2)), []string{"{1,NaN}"}},
		{"timestamptz[]", true, elements(moment), []string{"{infinity}"}},
		{"float8[]", true, elements(float(64)), []string{"{NaN,-0}", "{{1e15,5.684341886080802e-14}}"}},
		{"bool[]", true, elements(one("t", "f")), nil},
		{"bytea[]", true, elements(func(r *rand.Rand) string { return `\x` + hexadecimal(r.IntN(3))(r) }), []string{`{{"\\x","\\x00ff"}}`}},
		{"uuid[]", true, elements(hexadecimal(16)), nil},
		{"inet[]", true, elements(one("10.0.0.1", "::1/64")), nil},
		{"mood[]", true, elements(one("sad", "so so")), nil},
		{"interval[]", true, elements(one("1 mon", "-3 days 04:05:06.7")), nil},
		{"jsonb[]", true, elements(one(`1`, `[2]`)), nil},
		{"prices", true, elements(number(3, 2)), []string{"{NaN,1}"}},
		{"hstore", false, func(r *rand.Rand) string {
			return fmt.Sprintf("%s=>%s, b=>NULL", strconv.Quote("k"), strconv.Quote("v1"))
		}, []string{"", `"a\"b"=>"c\\d", "e=>f"=>"NULL"`}},
		{"hstore[]", false, one(`{"a=>1,b=>NULL",NULL}`), []string{`{{"a=>1"}}`}},
		{"point3", true, point3, []string{"(,NaN,)", "(,,)", `(,,"")`}},
		{"point3[]", true, func(r *rand.Rand) string {
			return `{"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(point3(r)) + `",NULL}`
		}, []string{`{"(,NaN,)"}`, `{{"(1,2,\"a b\")"}}`}},
		{"nested", true, composite(point3, moment, elements(one("a", "b c"))), nil},
		{"mixed", true, composite(integer(0, 3), one("10.0.0.1", "::/0")), nil},
		{"floats", true, composite(float(64), float(32)), []string{"(NaN,Infinity)"}},
	}
}

func others() []kind {
	return []kind{
		{"int4range", true, one("[1,5)", "(,3)", "empty", "[7,)"), nil},
		{"tstzrange", true, one("[2026-01-01,infinity)", "(,)", "[2026-01-01 00:00:00.5,2026-01-02]"), nil},
		{"int4multirange", true, one("{[1,3),[5,9)}", "{}"), nil},
		{"inet", true, one("10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "::ffff:1.2.3.4"), nil},
		{"cidr", true, one("10.0.0.0/8", "2001:db8::/32"), nil},
		{"macaddr", true, one("08:00:2b:01:02:03"), nil},
		{"macaddr8", true, one("08:00:2b:01:02:03:04:05"), nil},
		{"tsvector", true, one("'a':1A 'b c':2,3", ""), nil},
		{"tsquery", true, one("'a' & !'b'"), nil},
		{"xml", false, one("<a>b</a>", `<?xml version="1.0" encoding="UTF-8"?><a/>`, `<?xml version="1.0" standalone="yes"?><a/>`), nil},
		{"bit(5)", true, one("10101"), nil},
		{"varbit", true, one("1", "", "0101010101"), nil},
		{"point", false, one("(1.5,-2)"), nil},
		{"box", false, one("(2,2),(0,0)"), nil},
		{"box[]", false, one("{(2,2),(0,0);(1,1),(0,0)}"), nil},
		{"path", false, one("[(0,0),(1,1)]"), nil},
		{"circle", false, one("<(0,0),1>"), nil},
		{"polygon", false, one("((0,0),(1,1),(2,0))"), nil},
		{"line", false, one("{1,2,3}"), nil},
		{"lseg", false, one("[(0,0),(1,1)]"), nil},
		{"pg_lsn", true, one("16/B374D848", "0/0", "FFFFFFFF/FFFFFFFF"), nil},
		{"ltree", true, one("a.b.c"), nil},
		{"regclass", true, one("pg_class"), nil},
		{"int2vector", false, one("1 2 3"), nil},
	}
}

func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("ACEQUIA_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ACEQUIA_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestBinaryAndTextAreEqual puts random values of each type into the server and reads them both ways: a select list in binary, and the
// texts of the output functions, which the log carries.
func TestBinaryAndTextAreEqual(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	dsn := server.Database(t, prelude...)
	c := connect(t, dsn)
	all := kinds()
	fillEvery(t, c, r, all)
	table := listOne(t, c, "public.every")
	l, err := postgres.NewLayout(table, postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	binary, text := l.Decoder(), l.Decoder()
	if err := c.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM every ORDER BY id", nil, binary, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	printed := printed(t, c, "SELECT * FROM every ORDER BY id")
	for row, values := range printed {
		if err := text.Text(values); err != nil {
			t.Fatalf("row %d: %v", row, err)
		}
	}
	a, b := only(t, binary), only(t, text)
	if a.Schema.ID() != b.Schema.ID() {
		t.Errorf("the schemas differ: %s", cmp.Diff(a.Schema.Fields, b.Schema.Fields))
	}
	for row := range a.Rows {
		for i := range a.Columns {
			x, y := a.AppendValueJSON(nil, i, row), b.AppendValueJSON(nil, i, row)
			if !bytes.Equal(x, y) {
				t.Errorf("row %d, %s: binary %s, text %s", row, described(a.Schema.Fields[i], all), x, y)
			}
		}
	}
	checkRendered(t, c, l, printed, all)
	checkKeys(t, c, a, all)
}

// fillEvery makes a table of every type, with random values and those that are tried in any case.
func fillEvery(t *testing.T, c *postgres.Conn, r *rand.Rand, all []kind) {
	t.Helper()
	var columns []string
	const rows = 60
	for i, k := range all {
		columns = append(columns, fmt.Sprintf("c%d %s", i, k.name))
	}
	if _, err := c.Exec(t.Context(), "CREATE TABLE every (id int PRIMARY KEY, "+strings.Join(columns, ", ")+")"); err != nil {
		t.Fatal(err)
	}
	for row := range rows {
		names, values := "id", strconv.Itoa(row)
		for i, k := range all {
			v := k.values(r)
			if row < len(k.fixed) {
				v = k.fixed[row]
			} else if r.IntN(8) == 0 {
				continue // NULL
			}
			names += fmt.Sprintf(", c%d", i)
			values += ", '" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		if _, err := c.Exec(t.Context(), "INSERT INTO every ("+names+") VALUES ("+values+")"); err != nil {
			t.Fatalf("%s: %v", values, err)
		}
	}
}

// described names the type of a field.
func described(f record.Field, all []kind) string {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(f.Name, "c"), gather.RawSuffix))
	if err != nil {
		return f.Name
	}
	return f.Name + " " + all[n].name
}

// checkRendered compares what is printed from a value in binary with what the server prints.
func checkRendered(t *testing.T, c *postgres.Conn, l *postgres.Layout, printed [][]postgres.Value, all []kind) {
	t.Helper()
	row := 0
	err := c.Stream(t.Context(), "SELECT "+l.Select()+" FROM every ORDER BY id", nil, func(values [][]byte) error {
		for i, v := range values {
			if v == nil {
				continue
			}
			text, ok, err := l.Render(i, v)
			if err != nil || ok && !bytes.Equal(text, printed[row][i].Data) {
				t.Errorf("row %d, %s: rendered %q, the server prints %q (%v)", row, all[i-1].name, text, printed[row][i].Data, err)
			}
		}
		row++
		return nil
	})
	if err != nil || row != len(printed) {
		t.Errorf("%d rows, %v", row, err)
	}
}

// checkKeys looks whether each value, as the text of a key, finds its row again.
func checkKeys(t *testing.T, c *postgres.Conn, b *record.Batch, all []kind) {
	t.Helper()
	for i, k := range all {
		if !k.key {
			continue
		}
		name := fmt.Sprintf("c%d", i)
		if _, err := c.Exec(t.Context(), fmt.Sprintf("CREATE TABLE key%d AS SELECT %s, id FROM every WHERE %s IS NOT NULL; ALTER TABLE key%d ALTER %s SET NOT NULL",
			i, name, name, i, name)); err != nil {
			t.Fatal(err)
		}
		table := listOne(t, c, fmt.Sprintf("public.key%d", i))
		table.Key = []string{name}
		l, err := postgres.NewLayout(table, postgres.LayoutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		d := l.Decoder()
		refused := 0
		if err := c.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM "+from(table), nil, d, postgres.StreamOptions{
			Refused: func(*gather.RowError) error { refused++; return nil },
		}); err != nil {
			t.Fatal(err)
		}
		keys := only(t, d)
		find := fmt.Sprintf("SELECT count(*) FROM %s WHERE %s = $1%s AND id = $2", table.Quoted(), name, l.KeyCasts()[0])
		for row := range keys.Rows {
			text := l.KeyText(keys, row)[0]
			var n int
			if err := c.QueryRow(t.Context(), strings.ReplaceAll(find, "$1", "$1::text"), text, keys.Columns[1].Int(row)).Scan(&n); err != nil || n != 1 {
				t.Errorf("%s: the key %q finds %d rows, %v", k.name, text, n, err)
			}
		}
		if refused > 20 || keys.Rows == 0 {
			t.Errorf("%s: %d of %d keys were refused", k.name, refused, refused+keys.Rows)
		}
	}
	_ = b
}

// from is the table without those that inherit from it.
func from(t *postgres.Table) string {
	if t.Kind == postgres.Ordinary {
		return "ONLY " + t.Quoted()
	}
	return t.Quoted()
}

// listOne finds one table.
func listOne(t *testing.T, c *postgres.Conn, name string) *postgres.Table {
	t.Helper()
	tables, err := postgres.ListTables(t.Context(), c, []string{name})
	if err != nil || len(tables) != 1 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	return tables[0]
}

// printed gives rows as the output functions print them: the simple protocol does.
func printed(tb testing.TB, c *postgres.Conn, sql string) (rows [][]postgres.Value) {
	tb.Helper()
	results, err := c.PgConn().Exec(tb.Context(), sql).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	for _, row := range results[len(results)-1].Rows {
		values := make([]postgres.Value, len(row))
		for i, v := range row {
			values[i] = postgres.Value{Kind: 't', Data: v}
			if v == nil {
				values[i].Kind = 'n'
			}
		}
		rows = append(rows, values)
	}
	return rows
}

// only takes the one batch of a decoder.
func only(t *testing.T, d *postgres.Decoder) *record.Batch {
	t.Helper()
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	return batches[0]
}
