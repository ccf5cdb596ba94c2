package mongodb_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
)

// FuzzDocument walks any bytes: what the driver takes for a document is read as the driver reads it, and nothing else is read wrongly.
func FuzzDocument(f *testing.F) {
	for _, doc := range everyType() {
		raw, err := bson.Marshal(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		value := mongodb.Value{Type: bson.TypeEmbeddedDocument, Data: data}
		ours, err := mongodb.AppendJSON(nil, value)
		theirs, failed := bson.MarshalExtJSON(bson.Raw(data), true, false)
		if bson.Raw(data).Validate() != nil {
			return
		}
		if err == nil && failed == nil {
			var a, b bson.D
			err1, err2 := bson.UnmarshalExtJSON(ours, true, &a), bson.UnmarshalExtJSON(theirs, true, &b)
			if (err1 == nil) != (err2 == nil) {
				t.Fatalf("%s: %v\n%s: %v", ours, err1, theirs, err2)
			}
			again1, _ := bson.Marshal(a)
			again2, _ := bson.Marshal(b)
			if !bytes.Equal(again1, again2) {
				t.Fatalf("ours\n%s\nthe driver's\n%s", ours, theirs)
			}
		}
		columns(t, data)
	})
}

// columns decodes a document by the columns that it would be sampled to, and compares the values with the driver's.
func columns(t *testing.T, data []byte) {
	t.Helper()
	guessed, err := mongodb.Guess{Flatten: true, Lists: true}.Columns([]bson.Raw{data})
	if err != nil {
		return
	}
	layout, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: "s", Columns: guessed})
	if err != nil {
		t.Fatal(err)
	}
	d := layout.Decoder()
	if err := d.Add(data); err != nil {
		if _, ok := errors.AsType[*mongodb.RowError](err); !ok {
			t.Fatal(err)
		}
		if d.Rows() != 0 {
			t.Fatal("a refused document was taken")
		}
		return
	}
	b, err := d.Batch(func(int, *record.System) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range guessed {
		i := b.Schema.Index(column.Name)
		v, err := bson.Raw(data).LookupErr(column.Path...)
		if err != nil || strings.Contains(strings.Join(column.Path, ""), "\x00") {
			continue
		}
		compare(t, &b.Schema.Fields[i], &b.Columns[i], v, column)
	}
}

func compare(t *testing.T, f *record.Field, c *record.Column, v bson.RawValue, column mongodb.Column) {
	t.Helper()
	if !c.IsValid(0) {
		return // null, or beside
	}
	switch column.Type {
	case "string":
		if s, ok := v.StringValueOK(); ok && s != string(c.Text(0)) {
			t.Fatalf("%v: %q for %q", column, c.Text(0), s)
		}
	case "int64":
		if n, ok := v.AsInt64OK(); ok && n != c.Int(0) {
			t.Fatalf("%v: %d for %d", column, c.Int(0), n)
		}
	case "float64":
		if n, ok := v.DoubleOK(); ok && n == n && n != c.Float(0) {
			t.Fatalf("%v: %v for %v", column, c.Float(0), n)
		}
	case "timestamp":
		if n, ok := v.DateTimeOK(); ok && n*1000 != c.Int(0) {
			t.Fatalf("%v: %v for %v", column, c.Int(0), n)
		}
	case "objectid":
		if id, ok := v.ObjectIDOK(); ok && id.Hex() != string(c.Text(0)) {
			t.Fatalf("%v: %s for %s", column, c.Text(0), id.Hex())
		}
	}
	_ = f
}

// FuzzKey reads keys back: the value that a key stands for has the same key.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"oid:65f2c3a4b5d6e7f809112233", "s:", "s:a", "n:1", "n:-0.5", "n:NaN", "n:Infinity", "n:0.1", "b:true", "date:-1", "ts:1:2", "bin:04:00ff", "null", `doc:{"a":{"$numberInt":"1"}}`} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		v, err := mongodb.KeyValue(key)
		if err != nil {
			return
		}
		text, err := mongodb.AppendKey(nil, v)
		if err != nil {
			return
		}
		again, err := mongodb.KeyValue(string(text))
		if err != nil {
			t.Fatalf("%q became %q, which is no key: %v", key, text, err)
		}
		if second, err := mongodb.AppendKey(nil, again); err != nil || !bytes.Equal(second, text) {
			t.Fatalf("%q became %q, and that %q (%v)", key, text, second, err)
		}
		if !strings.HasPrefix(key, string(text[:1])) {
			t.Fatalf("%q became %q", key, text)
		}
	})
}
