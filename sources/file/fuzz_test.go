package file

import (
	"bytes"
	stdcsv "encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/acequia-io/acequia/record"
)

// records splits a text that comes in pieces; bad says that one was refused.
func records(tb testing.TB, src io.Reader, delimiter byte) (out [][]string, bad bool) {
	tb.Helper()
	w := newWindow(src, 1<<20)
	c := newCSV(delimiter, 64)
	for {
		buf := w.rest()
		if len(buf) == 0 && w.done {
			return out, bad
		}
		p, err := c.split(buf, w.done)
		switch {
		case p.n == 0 && w.done:
			tb.Fatalf("%q stays", buf)
		case p.n == 0:
			w.fill()
			continue
		case p.n < 0 || p.n > len(buf) || p.lines < 1:
			tb.Fatalf("%+v of %q", p, buf)
		case err != nil:
			bad = true
		case p.row:
			if c.count > len(c.fields) {
				c.fields = make([]span, c.count)
				continue
			}
			var fields []string
			for _, s := range c.fields[:c.count] {
				v := buf[s.lo:s.hi]
				if s.doubled {
					v = c.undouble(v)
				}
				fields = append(fields, string(v))
			}
			out = append(out, fields)
		}
		w.pos += p.n
	}
}

// What the standard library takes, we take, and as the same; however it comes.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,2\n", "\"a\"\"b\",\"c\r\nd\"\r\n\r\n,\n\"\",\n", "a\"b\n\"c\"d\n\"e", "\r\r\n\"\r", "a,b\r", ",,,,,,,,,,,,,,,,,\n",
		"\"x\"\r\ny", "\x00,\x80\n",
		strings.Repeat("12345678,", 100) + "\n",
	} {
		f.Add(text, byte(','))
	}
	f.Fuzz(func(t *testing.T, text string, delimiter byte) {
		if delimiter == '"' || delimiter == '\r' || delimiter == '\n' || delimiter == 0 || delimiter >= 0x80 || len(text) > 1<<19 {
			return
		}
		got, bad := records(t, strings.NewReader(text), delimiter)
		slowly, alsoBad := records(t, iotest.OneByteReader(strings.NewReader(text)), delimiter)
		if bad != alsoBad || !same(got, slowly) {
			t.Fatalf("%q, and byte by byte %q", got, slowly)
		}
		r := stdcsv.NewReader(strings.NewReader(text))
		r.Comma, r.FieldsPerRecord = rune(delimiter), -1
		want, err := r.ReadAll()
		if err != nil {
			return
		}
		for _, fields := range got {
			for i := range fields {
				fields[i] = strings.ReplaceAll(fields[i], "\r\n", "\n") // it changes what stands in quotes
			}
		}
		if bad || !same(got, want) {
			t.Fatalf("%q is %q (refused: %t), want %q", text, got, bad, want)
		}
	})
}

func same(a, b [][]string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if strings.Join(a[i], "\x01") != strings.Join(b[i], "\x01") || len(a[i]) != len(b[i]) {
			return false
		}
	}
	return true
}

func testTable(tb testing.TB) *table {
	tb.Helper()
	var fields []record.Field
	for _, text := range []string{
		"bool", "int32", "int64", "float32", "float64", "decimal(8,2)", "decimal(38,10)", "date", "timestamp",
		"local_timestamp", "string", "bytes",
	} {
		f, err := record.ParseType("c"+strconv.Itoa(len(fields)), text)
		if err != nil {
			tb.Fatal(err)
		}
		fields = append(fields, f)
	}
	schema, err := record.NewSchema("fuzz", nil, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return newTable(schema, "lane", &input{id: "lane"})
}

// slacked gives a text the bytes behind it that scanners look at.
func slacked(text string) []byte {
	return append(append(make([]byte, 0, len(text)+slack), text...), `"\,{}:1234567890`...)[:len(text)]
}

// What is taken is JSON with the same values; what is refused as no JSON is none. A refused row leaves nothing behind.
func FuzzNDJSON(f *testing.F) {
	for _, line := range []string{
		`{"c0":true,"c1":-5,"c2":9223372036854775807,"c3":1.5,"c4":1e-7,"c5":12.25,"c6":"-0.1","c7":"2024-02-29"}`,
		`{"c8":"2024-02-29T10:00:00.5+01:30","c9":"2024-02-29 10:00:00","c10":"a\u00f1\ud834\udd1e\"","c11":"/w=="}`,
		`{"c10":[1,{"a":"b"}],"C10":null}`, `{"x":1,"x":2}`, `{"c2":1e400}`, `{} x`, `{"c10":"\ud800"}`, "{\"c10\":\"\xff\"}", `[1]`,
		`{"c4":"NaN"}`, ` { "c2" : 01 } `,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsRune(line, '\n') {
			return
		}
		tb := testTable(t)
		j := newNDJSON(tb.schema)
		good := slacked(`{"c0":false,"c10":"before"}`)
		if p := j.scan(good, true, tb); p.bad != nil {
			t.Fatal(p.bad)
		}
		tb.next(1, 1)
		p := j.scan(slacked(line), true, tb)
		if p.n != len(line) {
			t.Fatalf("%d bytes of %d", p.n, len(line))
		}
		taken := p.row && p.bad == nil
		if taken {
			tb.next(2, 2)
		}
		if p := j.scan(good, true, tb); p.bad != nil {
			t.Fatal(p.bad)
		}
		tb.next(3, 3)
		b, err := tb.batch(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if first, last := string(b.AppendJSON(nil, 0)), string(b.AppendJSON(nil, b.Rows-1)); first != last {
			t.Fatalf("%s after a row that was %s", last, first)
		}
		valid := json.Valid([]byte(line))
		switch {
		case taken && !valid:
			t.Fatalf("%q was taken", line)
		case p.bad != nil && p.bad.code == codeJSON && valid && strings.HasPrefix(strings.TrimLeft(line, " \t\r"), "{") &&
			!strings.Contains(line, `\u`) && strings.Count(line, "[")+strings.Count(line, "{") < maxDepth:
			t.Fatalf("%q was refused: %v", line, p.bad.err)
		case taken:
			sameString(t, line, b)
		}
	})
}

// sameString compares the text column with what the standard library reads.
func sameString(t *testing.T, line string, b *record.Batch) {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(line), &all); err != nil {
		return
	}
	for name, value := range all {
		text, ok := value.(string)
		if ok && strings.EqualFold(name, "c10") && string(b.Columns[10].Text(1)) != text {
			t.Fatalf("%q has the text %q, want %q", line, b.Columns[10].Text(1), text)
		}
	}
}

func FuzzValues(f *testing.F) {
	for _, v := range []string{
		"0", "-0", "+7", "007", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.50", "-.5", "5.", ".", "1e5",
		"12E-1", "1e400", "-0.0", "0.1", "NaN",
		"0x1p3", "1_0", "2024-02-29", "2023-02-29", "0000-01-01", "2024-02-29T10:00:00Z", "2024-02-29T10:00:00.1234560+01:30",
		"9999-12-31T23:59:59.999999Z", "00000000000000000000001",
		"123456.78", "1234567.8", strings.Repeat("9", 38), "-" + strings.Repeat("9", 28) + ".0000000001",
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		n, ok := parseInt([]byte(v))
		want, err := strconv.ParseInt(v, 10, 64)
		if ok != (err == nil) || ok && n != want {
			t.Errorf("int %q: %d %t, want %d %v", v, n, ok, want, err)
		}
		if d, ok := parseDate([]byte(v)); true {
			want, err := time.Parse(time.DateOnly, v)
			if ok != (err == nil) || ok && d != want.Unix()/secondsADay {
				t.Errorf("date %q: %d %t, want %v %v", v, d, ok, want, err)
			}
		}
		fuzzFloat(t, v)
		fuzzDecimal(t, v)
		at, err := time.Parse(time.RFC3339Nano, v)
		micros, ok := parseTime([]byte(v), true)
		if err == nil && ok && micros != at.UnixMicro() { // it takes more than RFC 3339, and so do we, but not the same
			t.Errorf("time %q: %d, want %d", v, micros, at.UnixMicro())
		}
		if err == nil && strings.HasSuffix(v, "Z") && len(v) == len("2006-01-02T15:04:05.000Z") && !ok {
			t.Errorf("time %q is refused", v)
		}
	})
}

func fuzzFloat(t *testing.T, v string) {
	t.Helper()
	for _, size := range []int{32, 64} {
		got, ok := parseFloat([]byte(v), size)
		want, err := strconv.ParseFloat(v, size)
		if ok && (err != nil || math.Float64bits(got) != math.Float64bits(want) && !math.IsNaN(want)) {
			t.Errorf("float%d %q: %v, want %v %v", size, v, got, want, err)
		}
	}
}

func fuzzDecimal(t *testing.T, v string) {
	t.Helper()
	for _, p := range [][2]int{{8, 2}, {18, 0}, {18, 18}} {
		n, ok := parseNarrow([]byte(v), p[0], p[1])
		w, wide := parseWide([]byte(v), p[0], p[1])
		if ok != wide || ok && n != int64(w.Lo) {
			t.Errorf("decimal%v %q: %d %t, and %v %t", p, v, n, ok, w, wide)
		}
	}
	got, ok := parseWide([]byte(v), 38, 10)
	want, err := record.ParseDecimal(v, 38, 10)
	if err == nil && (!ok || got != want) {
		t.Errorf("decimal %q: %v %t, want %v", v, got, ok, want)
	}
}

// A Parquet file may be anything: there are rows or errors, and no crash.
func FuzzParquet(f *testing.F) {
	f.Add([]byte("PAR1"))
	f.Add([]byte("PAR1\x15\x04PAR1"))
	f.Add(append([]byte("PAR1"), append(bytes.Repeat([]byte{0x15}, 40), "\x28\x00\x00\x00PAR1"...)...))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "a.parquet")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		lanes, err := s.Lanes(t.Context())
		for _, lane := range lanes {
			r, err := s.Open(t.Context(), lane, "")
			if err != nil {
				return
			}
			for err == nil {
				_, err = r.Read(t.Context())
			}
			if err := errors.Join(r.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil && len(lanes) == 0 {
			t.Error("no lane and no error")
		}
	})
}
