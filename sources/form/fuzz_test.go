package form

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/videogames"
)

func register(tb testing.TB) *schemas.Table {
	tb.Helper()
	t, err := videogames.Table()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// accepted checks what was decoded, and that what passes is a record that its own codec reads.
func accepted(t *testing.T, table *schemas.Table, body *sent) {
	t.Helper()
	if len(table.Check(body.inputs, body.values, time.Unix(1_800_000_000, 0))) > 0 || len(body.unknown) > 0 {
		return
	}
	body.values[0] = schemas.Value{Set: true, Text: []byte("id")}
	b := record.NewBuilder(table.Schema(), 1)
	table.Append(b, body.values)
	doc := b.Batch(nil).AppendJSON(nil, 0)
	if err := b.AppendJSON(doc); err != nil {
		t.Fatalf("%s was accepted, and its document is not read: %v", doc, err)
	}
	for _, v := range body.values[1:4] {
		if !utf8.Valid(v.Text) || bytes.IndexByte(v.Text, 0) >= 0 || len(v.Text) == 0 || utf8.RuneCount(v.Text) > 200 {
			t.Fatalf("%q was accepted", v.Text)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"title":"a\u00e9\ud83d\ude00\"","developer":"N/A","genre":"Misc","year":1998,"competitive":true}`))
	f.Add([]byte(`{"title":{"a":[1,null,{"b":"c"}]},"id":"x"}`))
	f.Add([]byte(`{"year":-0,"year":1e9}`))
	table := register(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		body := newSent(table)
		defer body.release()
		body.body = append(body.body, text...)
		err := body.decodeJSON(table)
		if !json.Valid(text) && err == nil {
			t.Fatalf("%q is no JSON", text)
		}
		if err == nil {
			same(t, text, body, table)
			accepted(t, table, body)
		}
	})
}

// same compares with what encoding/json makes of the fields.
func same(t *testing.T, text []byte, body *sent, table *schemas.Table) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatalf("%q is no object: %v", text, err)
	}
	for i, f := range table.Fields {
		in, raw := body.inputs[i], want[f.Name]
		if (in.Shape == schemas.Missing) != (raw == nil) {
			t.Fatalf("%s of %q has shape %d", f.Name, text, in.Shape)
		}
		if in.Shape == schemas.Characters {
			var s string
			if err := json.Unmarshal(raw, &s); err != nil || s != string(in.Text) {
				t.Fatalf("%s is %q, want %q", f.Name, in.Text, s)
			}
		}
	}
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("title=a+%C3%B1%00&developer=N%2FA&genre=Misc&year=1998&competitive=true&_key=k&_homepage="))
	f.Add([]byte("&&=&title&title=%&a=%f"))
	f.Add([]byte("title=a;b&t%69tle=c"))
	table := register(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		body := newSent(table)
		defer body.release()
		body.body = append(body.body, text...)
		if body.decodeForm(table) != nil {
			return
		}
		values, err := url.ParseQuery(string(text))
		if err == nil && body.key != values.Get(keyField) {
			t.Fatalf("the key of %q is %q", text, body.key)
		}
		for i, f := range table.Fields {
			if all := values[f.Name]; err == nil && (len(all) > 0) != (body.inputs[i].Shape != schemas.Missing) ||
				err == nil && len(all) == 1 && all[0] != string(body.inputs[i].Text) {
				t.Fatalf("%s of %q is %q, want %q", f.Name, text, body.inputs[i].Text, all)
			}
		}
		accepted(t, table, body)
	})
}
