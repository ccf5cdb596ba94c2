package file_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/file"
)

type ndjsonCase struct {
	text string
	rows []string
	bad  []string // place, code and column
}

func ndjsonCases() map[string]ndjsonCase {
	return map[string]ndjsonCase{
		"plain": {
			text: `{"id":1,"name":"a","price":1.5}` + "\r\n\n  \n" + ` { "price" : "2.25" , "id" : 2 } `,
			rows: []string{
				`{"id":1,"name":"a","price":"1.50","ok":null,"f":null,"at":null}`,
				`{"id":2,"name":null,"price":"2.25","ok":null,"f":null,"at":null}`,
			},
		},
		"names by the lake's rule, unknown ones": {
			text: `{"ID":1,"Name":"a","other":{"x":[1,"}\n",null,true]},"n\u0061me2":1}`,
			rows: []string{`{"id":1,"name":"a","price":null,"ok":null,"f":null,"at":null}`},
		},
		"escapes": {
			text: `{"id":1,"name":"\u00f1 \"\\\/\b\f\n\r\t \ud834\udd1e","n\u0061me":2}` + "\n" + `{"id":2,"n\u0061me":"x\u0000"}`,
			rows: []string{`{"id":2,"name":"x\u0000","price":null,"ok":null,"f":null,"at":null}`}, bad: []string{"a.ndjson:1 026 name"},
		},
		"documents": {
			text: `{"id":1,"name":{"a": [1, 2]},"ok":true}`,
			rows: []string{`{"id":1,"name":"{\"a\": [1, 2]}","price":null,"ok":true,"f":null,"at":null}`},
		},
		"numbers": {
			text: `{"id":-9223372036854775808,"price":-1e2,"f":-0.0}` + "\n" + `{"id":1,"f":"NaN","at":"2026-11-28T10:00:00.5+01:00"}`,
			rows: []string{
				`{"id":-9223372036854775808,"name":null,"price":"-100.00","ok":null,"f":-0,"at":null}`,
				`{"id":1,"name":null,"price":null,"ok":null,"f":"NaN","at":"2026-11-28T09:00:00.500000Z"}`,
			},
		},
		"other types": {
			text: strings.Join([]string{
				`{"id":"1"}`, `{"id":1.0}`, `{"id":1,"name":5}`, `{"id":1,"name":true}`, `{"id":1,"ok":"true"}`, `{"id":1,"ok":1}`, `{"id":1,"at":5}`,
				`{"id":1,"f":"1.5"}`, `{"id":1,"price":{}}`, `{"id":1,"at":"yesterday"}`, `{"id":1,"price":1.234}`,
			}, "\n"),
			bad: []string{
				"a.ndjson:1 020 id", "a.ndjson:2 020 id", "a.ndjson:3 020 name", "a.ndjson:4 020 name", "a.ndjson:5 020 ok",
				"a.ndjson:6 020 ok",
				"a.ndjson:7 020 at", "a.ndjson:8 020 f", "a.ndjson:9 020 price", "a.ndjson:10 020 at", "a.ndjson:11 020 price",
			},
		},
		"out of range": {
			text: `{"id":1234567890123456789012345678901234567890}` + "\n" + `{"id":1,"f":1e400}`,
			bad:  []string{"a.ndjson:1 020 id", "a.ndjson:2 020 f"},
		},
		"no JSON": {text: strings.Join([]string{
			`[1]`, `5`, `{`, `{"id":1`, `{"id":1,}`, `{"id":1} x`, `{"id":NaN}`, `{"id":01}`, `{id:1}`, `{"id":1 "f":2}`,
			`{"id":1,"name":"\x"}`, `{"id":1,"name":"` + "\t" + `"}`,
			`{"id":1,"name":"\ud800"}`, `{"id":1,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, `{"id":1,"x":[1,]}`,
			`{"id":nul}`, "{\"id\":1}\x00", `{"id":1,"x":1.}`,
		}, "\n"), bad: []string{
			"a.ndjson:1 025 ", "a.ndjson:2 025 ", "a.ndjson:3 025 ", "a.ndjson:4 025 ", "a.ndjson:5 025 ",
			"a.ndjson:6 025 ", "a.ndjson:7 025 id",
			"a.ndjson:8 025 id", "a.ndjson:9 025 ", "a.ndjson:10 025 ", "a.ndjson:11 025 name", "a.ndjson:12 025 name", "a.ndjson:13 025 name",
			"a.ndjson:14 025 ",
			"a.ndjson:15 025 ", "a.ndjson:16 025 id", "a.ndjson:17 025 ", "a.ndjson:18 025 ",
		}},
		"twice": {
			text: `{"id":1,"name":"a","id":1}` + "\n" + `{"id":1,"x":1,"x":2}` + "\n" + `{"id":1,"ID":2}`,
			bad:  []string{"a.ndjson:1 026 id", "a.ndjson:2 026 x", "a.ndjson:3 026 id"},
		},
		"key":       {text: `{"name":"a"}` + "\n" + `{"id":null}`, bad: []string{"a.ndjson:1 027 id", "a.ndjson:2 027 id"}},
		"not UTF-8": {text: "{\"id\":1,\"name\":\"\xff\"}", bad: []string{"a.ndjson:1 023 "}},
	}
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	for name, c := range ndjsonCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := types("id int64", "name string", "price decimal(8,2)", "ok bool", "f float64", "at timestamp")
			g := text(t, file.Config{Schema: schema, Key: []string{"id"}}, "a.ndjson", c.text)
			if g.err != nil {
				t.Fatal(g.err)
			}
			if d := cmp.Diff(c.rows, g.rows); d != "" {
				t.Error(d)
			}
			var bad []string
			for _, r := range g.refused {
				bad = append(bad, r[:strings.IndexByte(r, '"')-1])
			}
			if d := cmp.Diff(c.bad, bad); d != "" {
				t.Error(d)
			}
		})
	}
}

// However a file is cut, each line is read once, and is the same record: also after it has grown.
func TestPieces(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	var want []string
	for i := range 2000 {
		name := strings.Repeat("n", rng.IntN(60))
		if rng.IntN(200) == 0 {
			name = strings.Repeat("long", 500)
		}
		fmt.Fprintf(&b, "{\"id\":%d,\"name\":%q}\n", i, name)
		want = append(want, fmt.Sprintf(`{"id":%d,"name":%q}`, i, name))
	}
	path := filepath.Join(folder(t, map[string]string{"a.ndjson": b.String()}), "a.ndjson")
	versions := map[string]record.Version{}
	for _, piece := range []int64{1 << 40, 1, 100, 777, 40_000} {
		s := source(t, file.Config{Path: path, Schema: types("id int64", "name string")})
		s.Cut(piece, 8<<20)
		if piece == 1 {
			s.Cut(50, 8<<20) // one line in several
		}
		g := all(t, s)
		if d := cmp.Diff(want, g.rows); d != "" || g.err != nil {
			t.Errorf("pieces of %d: %v %s", piece, g.err, d)
		}
		events := slices.Clone(g.events)
		slices.Sort(events)
		if len(slices.Compact(events)) != len(want) {
			t.Errorf("pieces of %d: events stand twice", piece)
		}
		row := 0
		for _, c := range g.chunks {
			if len(c.Batches) == 0 {
				continue // a piece that holds the middle of a line
			}
			for i := range c.Batches[0].Rows {
				v := c.Batches[0].System.Versions.At(i)
				if before, ok := versions[want[row]]; ok && before != v {
					t.Fatalf("pieces of %d: row %d has version %s, and had %s", piece, row, v, before)
				}
				versions[want[row]] = v
				row++
			}
		}
	}
}
