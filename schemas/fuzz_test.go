package schemas_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/schemas"
)

// FuzzLoad wants that a declaration is refused with words, or gives a table that has its schema.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("videogames/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // the project's own
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("name: x\nkey: [id]\nfields: [{name: id, type: uuid}]"))
	f.Add([]byte("a: &a [*a, *a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := schemas.Load("fuzz.yaml", text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("refused without a reason")
			}
			return
		}
		if table.Schema() == nil || len(table.Schema().Fields) != len(table.Fields) {
			t.Fatalf("%d fields, schema %v", len(table.Fields), table.Schema())
		}
	})
}

// FuzzDecodeLakeTable wants that what is read is written again as the same bytes in the second round.
func FuzzDecodeLakeTable(f *testing.F) {
	f.Add([]byte(`{"name":"games","stream":"games","version":1,"key":["id"],"partition":[{"name":"dt","from":"_event_ts","type":"string"}],
		"columns":[{"name":"id","type":"string"},{"name":"price","type":"decimal","precision":25,"scale":2},
		{"name":"tags","type":"list","fields":[{"name":"tag","type":"string","nullable":true}]}]}`))
	f.Add([]byte(`{"name":"x","columns":[{"type":"nothing"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := schemas.DecodeLakeTable(text)
		if err != nil {
			return
		}
		once, err := table.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := schemas.DecodeLakeTable(once)
		if err != nil {
			t.Fatalf("%s\nwas written and cannot be read: %v", once, err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s\nbecame\n%s%v", once, twice, err)
		}
	})
}
