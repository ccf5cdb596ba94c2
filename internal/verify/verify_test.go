package verify_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
)

// things is a schema with a value of each kind.
func things(t *testing.T) *record.Schema {
	t.Helper()
	null := func(name string, k record.Kind) record.Field {
		return record.Field{Name: name, Kind: k, Nullable: true}
	}
	decimal := func(name string, p, s int) record.Field {
		return record.Field{Name: name, Kind: record.Decimal, Nullable: true, Precision: p, Scale: s}
	}
	return schemaOf(
		t, "Id", record.Field{Name: "Id", Kind: record.Int64}, null("flag", record.Bool), null("small", record.Int32), null("half", record.Float32),
		null("whole", record.Float64), decimal("price", 9, 2), decimal("big", 38, 10), null("day", record.Date), null("at", record.Timestamp),
		null("local", record.LocalTimestamp), null("name", record.String), null("raw", record.Bytes),
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{null("element", record.String)}},
		record.Field{Name: "place", Kind: record.Struct, Nullable: true, Fields: []record.Field{null("x", record.Int32), null("y", record.Float64)}},
	)
}

func thing(i int) string {
	switch i % 4 {
	case 0:
		return fmt.Sprintf(`{"Id":%d}`, i)
	case 1:
		return fmt.Sprintf(`{"Id":%d,"flag":true,"small":-%d,"half":"NaN","whole":"-Inf","price":"%d.50","big":"-12345678901234567890.%d","day":"1969-12-31",`+
			`"at":"2026-11-29T10:00:00.000001Z","local":"0001-01-01T00:00:00","name":"","raw":"","tags":[],"place":{"x":null,"y":0.1}}`, i, i, i, i%10)
	case 2:
		return fmt.Sprintf(`{"Id":%d,"flag":false,"small":0,"half":-0.5,"whole":-0.0,"price":"0","big":"0.0000000001","day":"9999-12-31",`+
			`"at":"1969-12-31T23:59:59.999999Z","local":"9999-12-31T23:59:59.999999","name":"%s ñ 水 a longer text than sixteen bytes","raw":"AAECAw==","tags":["a",null,""],"place":{"x":%d}}`, i, []string{"uno", "dos"}[i%2], i)
	}
	return fmt.Sprintf(`{"Id":%d,"name":"n%d","price":"-%d.01","tags":["x","y"]}`, i, i, i)
}

func many(n int) (docs []string) {
	for i := range n {
		docs = append(docs, thing(i))
	}
	return docs
}

func TestEqual(t *testing.T) {
	t.Parallel()
	w := newWorld(t, things(t))
	docs := many(40)
	w.source.set(docs...)
	w.write(record.Snapshot, docs...)
	tables := w.want(40, 0, 0, 0)
	if len(tables) != 2 || tables[0].Ranges != 8 || tables[0].Differing != 0 || tables[0].Digest != tables[0].SinkDigest || tables[0].Digest != tables[1].SinkDigest {
		t.Errorf("%+v", tables)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, things(t))
	w.want(0, 0, 0, 0) // neither sink knows the table
	w.write(record.Insert, thing(1))
	w.write(record.Delete, thing(1))
	w.want(0, 0, 0, 0)
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more                      string // written with the op
		op                        record.Op
		without                   int // row that is not written; -1: none
		missing, extra, different int64
		column, source, sink      string
	}{
		"a row is missing":          {without: 7, missing: 1},
		"the first is missing":      {without: 0, missing: 1},
		"the last is missing":       {without: 39, missing: 1},
		"a row was deleted":         {more: thing(9), op: record.Delete, without: -1, missing: 1},
		"a row too many":            {more: thing(101), op: record.Insert, without: -1, extra: 1},
		"a row too many in between": {more: `{"Id":-1}`, op: record.Insert, without: -1, extra: 1},
		"null became an empty text": {more: `{"Id":4,"name":""}`, op: record.Update, without: -1, different: 1, column: "name", source: "null", sink: `""`},
		"a decimal by its last digit": {
			more: `{"Id":3,"name":"n3","price":"-3.02","tags":["x","y"]}`, op: record.Update, without: -1, different: 1,
			column: "price", source: `"-3.01"`, sink: `"-3.02"`,
		},
		"an element moved": {
			more: `{"Id":3,"name":"n3","price":"-3.01","tags":["y","x"]}`, op: record.Update, without: -1, different: 1,
			column: "tags", source: `["x","y"]`, sink: `["y","x"]`,
		},
		"an element is null": {
			more: `{"Id":3,"name":"n3","price":"-3.01","tags":["x",null]}`, op: record.Update, without: -1, different: 1,
			column: "tags", source: `["x","y"]`, sink: `["x",null]`,
		},
		"a list became empty": {more: `{"Id":4,"tags":[]}`, op: record.Update, without: -1, different: 1, column: "tags", source: "null", sink: "[]"},
		"a list of one null":  {more: `{"Id":4,"tags":[null]}`, op: record.Update, without: -1, different: 1, column: "tags", source: "null", sink: "[null]"},
		"a member":            {more: `{"Id":4,"place":{"x":0}}`, op: record.Update, without: -1, different: 1, column: "place", source: "null", sink: `{"x":0,"y":null}`},
		"false is not null":   {more: `{"Id":4,"flag":false}`, op: record.Update, without: -1, different: 1, column: "flag", source: "null", sink: "false"},
		"NaN is not null":     {more: `{"Id":4,"half":"NaN"}`, op: record.Update, without: -1, different: 1, column: "half", source: "null", sink: `"NaN"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, things(t))
			docs := many(40)
			w.source.set(docs...)
			if c.without < 0 {
				w.write(record.Insert, docs...)
			} else {
				w.write(record.Insert, slices.Delete(slices.Clone(docs), c.without, c.without+1)...)
			}
			if c.more != "" {
				w.write(c.op, c.more)
			}
			for _, table := range w.want(40, c.missing, c.extra, c.different) {
				if len(table.Differ) != 1 || table.Differing != 1 || table.Differ[0].Key["Id"] == "" {
					t.Fatalf("%+v", table)
				}
				columns := table.Differ[0].Columns
				if c.column == "" && len(columns) > 0 || c.column != "" && (len(columns) != 1 || columns[0] != verify.Values{Column: c.column, Source: c.source, Sink: c.sink}) {
					t.Errorf("%s: columns %+v", table.Sink, columns)
				}
			}
		})
	}
}
