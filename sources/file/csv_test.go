package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/sources/file"
)

type csvCase struct {
	config file.Config
	text   string
	rows   []string
	bad    []string
}

func csvCases() map[string]csvCase {
	return map[string]csvCase{
		"null, empty and N/A": {
			text: "id,name,price\n1,,\n2,\"\",1.5\n3,N/A,-.25\n",
			rows: []string{`{"id":1,"name":null,"price":null}`, `{"id":2,"name":"","price":"1.50"}`, `{"id":3,"name":"N/A","price":"-0.25"}`},
		},
		"an empty text is no number": {
			text: "id,name,price\n1,a,\"\"\n\"2\",b,\"3\"\n", rows: []string{`{"id":2,"name":"b","price":"3.00"}`},
			bad: []string{`a.csv:2 020 price "1,a,\"\""`},
		},
		"quotes": {
			text: "id,\"name\",price\r\n1,\"a, \"\"b\"\"\r\nc\",1\r\n2,\"\"\"\",2\r\n",
			rows: []string{`{"id":1,"name":"a, \"b\"\r\nc","price":"1.00"}`, `{"id":2,"name":"\"","price":"2.00"}`},
		},
		"lines are counted through quotes": {
			text: "id,name,price\n1,\"a\nb\nc\",1\nx,d,2\n",
			rows: []string{`{"id":1,"name":"a\nb\nc","price":"1.00"}`},
			bad:  []string{`a.csv:5 020 id "x,d,2"`},
		},
		"ragged": {
			text: "id,name,price\n1,a\n2,b,2,2\n3,c,3\n", rows: []string{`{"id":3,"name":"c","price":"3.00"}`},
			bad: []string{`a.csv:2 021  "1,a"`, `a.csv:3 021  "2,b,2,2"`},
		},
		"wrong quotes": {
			text: "id,name,price\n1,a\"b,1\n2,\"b\" ,2\n3,\"c,3\n4,d,4\n5,\"e\",5\n6,f,6\n", rows: []string{
				`{"id":4,"name":"d","price":"4.00"}`, `{"id":5,"name":"e","price":"5.00"}`, `{"id":6,"name":"f","price":"6.00"}`,
			},
			bad: []string{`a.csv:2 022  "1,a\"b,1"`, `a.csv:3 022  "2,\"b\" ,2"`, `a.csv:4 022  "3,\"c,3"`},
		},
		"a quote opened at the end": {
			text: "id,name,price\n1,\"a,1\n2,b,2", rows: []string{`{"id":2,"name":"b","price":"2.00"}`},
			bad: []string{`a.csv:2 022  "1,\"a,1"`},
		},
		"not UTF-8": {
			text: "id,name,price\n1,a\xff,1\n2,ñ,2\n3,\"\xc3\",3\n", rows: []string{`{"id":2,"name":"ñ","price":"2.00"}`},
			bad: []string{`a.csv:2 023 name "1,a\xff,1"`, `a.csv:4 023 name "3,\"\xc3\",3"`},
		},
		"not UTF-8 in a column that is left out": {
			text: "id,name,price,note\n1,a,1,\xff\n",
			rows: []string{`{"id":1,"name":"a","price":"1.00"}`},
		},
		"NUL": {
			text: "id,name,price\n1,a\x00b,1\n",
			rows: []string{`{"id":1,"name":"a\u0000b","price":"1.00"}`},
		},
		"no values": {text: "id,name,price\n"},
		"empty":     {text: ""},
		"blank lines and no last newline": {text: "\n\nid,name,price\n\n1,a,1\r\n\r\n2,b,2", rows: []string{
			`{"id":1,"name":"a","price":"1.00"}`, `{"id":2,"name":"b","price":"2.00"}`,
		}},
		"mark, order and names": {text: "\ufeffPrice,Extra,ID, Name \n1,x,7,a\n", rows: []string{`{"id":7,"name":"a","price":"1.00"}`}},
		"key": {
			config: file.Config{Key: []string{"ID"}}, text: "id,name,price\n,a,1\n2,b,2\n",
			rows: []string{`{"id":2,"name":"b","price":"2.00"}`}, bad: []string{`a.csv:2 027 id ",a,1"`},
		},
		"values that do not fit": {
			text: "id,name,price\n1.5,a,1\n99999999999999999999,a,1\n1,a,1.234\n1,a,1234567.00\n1,a,$5\n" +
				"1,a,1.20000\n1,a,12e-1\n",
			rows: []string{`{"id":1,"name":"a","price":"1.20"}`, `{"id":1,"name":"a","price":"1.20"}`},
			bad: []string{
				`a.csv:2 020 id "1.5,a,1"`, `a.csv:3 020 id "99999999999999999999,a,1"`, `a.csv:4 020 price "1,a,1.234"`,
				`a.csv:5 020 price "1,a,1234567.00"`, `a.csv:6 020 price "1,a,$5"`,
			},
		},
		"tabs": {
			config: file.Config{Delimiter: `\t`}, text: "id\tname\tprice\n1\ta,b\t1\n",
			rows: []string{`{"id":1,"name":"a,b","price":"1.00"}`},
		},
		"semicolon": {
			config: file.Config{Delimiter: ";"}, text: "id;name;price\n1;a,b;1\n",
			rows: []string{`{"id":1,"name":"a,b","price":"1.00"}`},
		},
		"no header": {
			config: file.Config{NoHeader: true}, text: "1,a,1\n2,b\n", rows: []string{`{"id":1,"name":"a","price":"1.00"}`},
			bad: []string{`a.csv:2 021  "2,b"`},
		},
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	schema := types("id int64", "name string", "price decimal(8,2)")
	for name, c := range csvCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Schema = schema
			g := text(t, c.config, "a.csv", c.text)
			if g.err != nil {
				t.Fatal(g.err)
			}
			if d := cmp.Diff(c.rows, g.rows); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.bad, g.refused); d != "" {
				t.Error(d)
			}
		})
	}
}

// One wrong quote far down costs its line and no other.
func TestOneWrongQuote(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("id,name\n")
	for i := 2; i <= 20_000; i++ {
		if i == 12_345 {
			b.WriteString("12345,\"open\n")
			continue
		}
		fmt.Fprintf(&b, "%d,\"name %d\"\n", i, i)
	}
	g := text(t, file.Config{Schema: types("id int64", "name string")}, "a.csv", b.String())
	if d := cmp.Diff([]string{`a.csv:12345 022  "12345,\"open"`}, g.refused); d != "" || len(g.rows) != 19_998 || g.err != nil {
		t.Error(d, len(g.rows), g.err)
	}
	if len(g.chunks) != 2 || g.events[len(g.events)-1] != "a.csv:20000" {
		t.Error(len(g.chunks), g.events[len(g.events)-1])
	}
}

// A line that never ends is read in bounded memory; what follows it is read.
func TestLongRecords(t *testing.T) {
	t.Parallel()
	const limit = 200_000
	long := strings.Repeat("x", 3*limit)
	for name, c := range map[string]struct{ text, bad string }{
		"a.csv":    {"id,name\n1,a\n2," + long + "\n3,c\n", "a.csv:3 024  "},
		"b.csv":    {"id,name\n1,a\n2,\"" + strings.Repeat("y\n", 3*limit/2)[1:] + "\n3,c\n", "b.csv:3 024  "},
		"c.ndjson": {`{"id":1,"name":"a"}` + "\n" + `{"id":2,"name":"` + long + "\"}\n" + `{"id":3,"name":"c"}` + "\n", "c.ndjson:2 024  "},
		"d.ndjson": {`{"id":1,"name":"a"}` + "\n" + `{"id":3,"name":"c"}` + "\n" + `{"id":2,"name":"` + long, "d.ndjson:3 024  "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, map[string]string{name: c.text})
			s := source(t, file.Config{Path: dir + "/" + name, Schema: types("id int64", "name string")})
			s.Cut(64<<20, limit)
			g := all(t, s)
			if d := cmp.Diff([]string{`{"id":1,"name":"a"}`, `{"id":3,"name":"c"}`}, g.rows); d != "" || g.err != nil {
				t.Error(d, g.err)
			}
			if len(g.refused) == 0 || !strings.HasPrefix(g.refused[0], c.bad) || len(g.refused[0]) > 70_000 {
				t.Errorf("%d refused: %.100s", len(g.refused), g.refused)
			}
			if name != "b.csv" && (len(g.refused) != 1 || len(g.refused[0]) < 64<<10) {
				t.Errorf("%d refused, the first with %d bytes", len(g.refused), len(g.refused[0]))
			}
		})
	}
}
