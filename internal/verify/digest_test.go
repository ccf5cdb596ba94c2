package verify_test

import (
	"testing"

	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
)

// digested gives the digest of rows of JSON.
func digested(t *testing.T, fields []record.Field, rows ...string) string {
	t.Helper()
	s, err := record.NewSchema("all", nil, fields...)
	if err != nil {
		t.Fatal(err)
	}
	var sum verify.Digest
	b := record.NewBuilder(s, len(rows))
	for i, row := range rows {
		if err := b.AppendJSON([]byte(row)); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 || i == len(rows)-1 {
			sum.Add(b.Batch(nil))
		}
	}
	return sum.String()
}

// TestDigestIsThatOfEveryVersion holds the digest of rows of every kind to what it was when backups were first made: one that is kept must
// be found equal by later versions.
func TestDigestIsThatOfEveryVersion(t *testing.T) {
	t.Parallel()
	field := func(name string, k record.Kind) record.Field {
		return record.Field{Name: name, Kind: k, Nullable: true}
	}
	narrow, wide, list, row := field("narrow", record.Decimal), field("wide", record.Decimal), field("list", record.List), field("row", record.Struct)
	narrow.Precision, narrow.Scale, wide.Precision, wide.Scale = 10, 2, 38, 3
	list.Fields, row.Fields = []record.Field{field("element", record.Int64)}, []record.Field{field("a", record.String), field("b", record.Bool)}
	fields := []record.Field{
		field("bool", record.Bool), field("int32", record.Int32), field("int64", record.Int64), field("float32", record.Float32), field("float64", record.Float64), narrow, wide,
		field("date", record.Date), field("moment", record.Timestamp), field("local", record.LocalTimestamp), field("text", record.String), field("bytes", record.Bytes), list, row,
	}
	rows := []string{
		`{"bool":true,"int32":-7,"int64":9007199254740993,"float32":0.5,"float64":"NaN","narrow":"1.50","wide":"-12345678901234567890123.456","date":"2026-12-01",` +
			`"moment":"2026-12-01T12:00:00.000001Z","local":"0001-01-01T00:00:00.000000","text":"ñ","bytes":"AP8=","list":[1,null],"row":{"a":"x","b":null}}`,
		`{}`, `{"text":"","list":[]}`,
	}
	const was = "3-1da722107d4c1457-ee083deb9a72dba9"
	if got := digested(t, fields, rows...); got != was {
		t.Errorf("the digest is %s and was %s", got, was)
	}
	turned := digested(t, append([]record.Field{field("more__raw", record.String)}, fields...), rows[2], rows[0], rows[1])
	if got := digested(t, fields, rows...); got != turned {
		t.Errorf("in another order, with a column of nulls, it is %s, not %s", turned, got)
	}
	for _, other := range [][]string{{rows[0], rows[1]}, {rows[0], rows[1], `{"text":"","list":[1]}`}, {rows[0], rows[1], `{"text":null,"list":[]}`}} {
		if digested(t, fields, other...) == turned {
			t.Errorf("%v has the digest of other rows", other)
		}
	}
}
