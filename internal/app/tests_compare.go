package app

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// The columns of a test's rows that stand for what acequia knows of a record, as the lake names them.
func systemFields() []record.Field {
	return []record.Field{
		{Name: "_op", Kind: record.String, Nullable: true},
		{Name: "_event_ts", Kind: record.Timestamp, Nullable: true},
		{Name: "_event_id", Kind: record.String, Nullable: true},
		{Name: "_source", Kind: record.String, Nullable: true},
	}
}

func fieldOf(fields []record.Field, name string) (f record.Field, system, known bool) {
	for i, all := range [][]record.Field{fields, systemFields()} {
		for _, f := range all {
			if f.Name == name {
				return f, i > 0, true
			}
		}
	}
	return f, false, false
}

func fieldNames(fields []record.Field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.Name
	}
	return out
}

// rowJSON writes the record of a row, without what acequia knows of it.
func rowJSON(row config.Row, fields []record.Field) ([]byte, config.Problems) {
	var problems config.Problems
	text := []byte{'{'}
	for _, name := range row.Columns() {
		f, system, known := fieldOf(fields, name)
		switch {
		case !known:
			problems = append(problems, row.Unknown(name, fieldNames(fields)))
			continue
		case system:
			continue
		case len(text) > 1:
			text = append(text, ',')
		}
		text = row.AppendJSON(append(record.AppendJSONString(text, name), ':'), f)
	}
	return append(text, '}'), problems
}

// known is what a test's row says of its record.
type known struct {
	op record.Op
	at int64
	id string
}

func systemOf(row config.Row, i int) (known, config.Problems) {
	out := known{op: record.Insert, at: testTime(i), id: fmt.Sprintf("test/%d", i+1)}
	var problems config.Problems
	for _, name := range row.Columns() {
		f, system, found := fieldOf(nil, name)
		if !found || !system {
			continue
		}
		c, err := valueOf(row, f)
		if err != nil {
			problems = append(problems, valueProblems(row, err)...)
			continue
		}
		switch {
		case !c.IsValid(0):
		case name == "_event_ts":
			out.at = c.Int(0)
		case name == "_event_id":
			out.id = string(c.Text(0))
		case name == "_op":
			op, ok := opOf(string(c.Text(0)))
			if !ok {
				problems = append(problems, row.At(name, "write insert, update, delete, snapshot or truncate", "_op: %q is no operation", c.Text(0)))
			}
			out.op = op
		default:
			problems = append(problems, row.At(name, "leave it out", "%s is not of the input", name))
		}
	}
	return out, problems
}

// opOf reads an operation: its letter as files have it, or its name.
func opOf(text string) (record.Op, bool) {
	for op, name := range map[record.Op]string{
		record.Insert: "insert", record.Update: "update", record.Delete: "delete", record.Snapshot: "snapshot", record.Truncate: "truncate",
	} {
		if text == op.String() || text == name {
			return op, true
		}
	}
	return 0, false
}

// valueOf reads one value of a row.
func valueOf(row config.Row, f record.Field) (*record.Column, error) {
	b, err := oneValue(row, f)
	if err != nil {
		return nil, err
	}
	return &b.Columns[0], nil
}

func oneValue(row config.Row, f record.Field) (*record.Batch, error) {
	f.Nullable = true
	s, err := record.NewSchema("test", nil, f)
	if err != nil {
		return nil, err
	}
	b := record.NewBuilder(s, 1)
	text := row.AppendJSON(append(record.AppendJSONString([]byte{'{'}, f.Name), ':'), f)
	if err := b.AppendJSON(append(text, '}')); err != nil {
		return nil, err
	}
	return b.Batch(nil), nil
}

// jsonValues gives the values of a row as a batch of the schema writes them, by column.
func jsonValues(row config.Row, s *record.Schema) (map[string]string, config.Problems) {
	out := map[string]string{}
	var problems config.Problems
	for _, name := range row.Columns() {
		f, _, known := fieldOf(s.Fields, name)
		if !known {
			problems = append(problems, row.Unknown(name, fieldNames(s.Fields)))
			continue
		}
		b, err := oneValue(row, f)
		if err != nil {
			problems = append(problems, valueProblems(row, err)...)
			continue
		}
		out[name] = string(b.AppendValueJSON(nil, 0, 0))
		if op, ok := opOf(strings.Trim(out[name], `"`)); name == "_op" && ok {
			out[name] = `"` + op.String() + `"`
		}
	}
	return out, problems
}

// systemValue writes what acequia knows of a record, as jsonValues does.
func systemValue(b *record.Batch, row int, name string) string {
	s := &b.System
	switch name {
	case "_op":
		return `"` + s.Op(row).String() + `"`
	case "_source":
		return string(record.AppendJSONString(nil, s.Source))
	case "_event_id":
		if len(s.EventIDs.Offsets) == 0 || !s.EventIDs.IsValid(row) {
			return "null"
		}
		return string(record.AppendJSONString(nil, s.EventIDs.Text(row)))
	}
	ts, err := record.NewSchema("test", nil, record.Field{Name: name, Kind: record.Timestamp})
	if err != nil {
		return ""
	}
	at := record.NewBuilder(ts, 1)
	at.Int(0, s.EventTime(row))
	at.Next()
	return string(at.Batch(nil).AppendValueJSON(nil, 0, 0))
}

// compareRows compares what reached a sink with what was wanted, in order.
func compareRows(sink string, want []config.Row, batches []*record.Batch, exact bool) []Difference {
	var out []Difference
	next := 0
	for _, b := range batches {
		for row := range b.Rows {
			if next >= len(want) {
				out = append(out, Difference{Sink: sink, Row: next + 1, Got: string(b.AppendJSON(nil, row))})
			} else {
				out = append(out, compareRow(sink, next+1, want[next], b, row, exact)...)
			}
			next++
		}
	}
	for ; next < len(want); next++ {
		out = append(out, Difference{Sink: sink, Row: next + 1, Want: written(want[next])})
	}
	return out
}

func compareRow(sink string, number int, want config.Row, b *record.Batch, row int, exact bool) []Difference {
	var out []Difference
	values, problems := jsonValues(want, b.Schema)
	for _, p := range problems {
		out = append(out, Difference{Sink: sink, Row: number, Want: p.Message})
	}
	for _, name := range want.Columns() {
		text, valid := values[name]
		if !valid {
			continue
		}
		var got string
		if i := b.Schema.Index(name); i >= 0 {
			got = string(b.AppendValueJSON(nil, i, row))
		} else {
			got = systemValue(b, row, name)
		}
		if got != text {
			out = append(out, Difference{Sink: sink, Row: number, Column: name, Want: text, Got: got})
		}
	}
	if exact {
		for i, f := range b.Schema.Fields {
			if _, named := values[f.Name]; !named && b.Columns[i].IsValid(row) {
				out = append(out, Difference{Sink: sink, Row: number, Column: f.Name, Want: "null", Got: string(b.AppendValueJSON(nil, i, row))})
			}
		}
	}
	return out
}

// written gives a row as it stands in the test.
func written(row config.Row) string {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range row.Columns() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(row.AppendJSON(append(record.AppendJSONString(nil, name), ':'), record.Field{Name: name, Kind: record.Int64}))
	}
	return b.String() + "}"
}

// rowOfLetter is the number of the input's row that a letter is of: its version.
func rowOfLetter(l *checkpoint.DeadLetter) int {
	v, err := record.ParseVersion(l.Version)
	if err != nil {
		return 0
	}
	return int(v.Lo) //nolint:gosec // counted up from 1
}

// compareLetters compares the dead letters, by the row that they are of.
func compareLetters(want []config.ExpectedLetter, got []checkpoint.DeadLetter) []Difference {
	slices.SortStableFunc(got, func(a, b checkpoint.DeadLetter) int { return cmp.Compare(rowOfLetter(&a), rowOfLetter(&b)) })
	var out []Difference
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			out = append(out, Difference{Row: i + 1, Got: letterText(&got[i])})
		case i >= len(got):
			out = append(out, Difference{Row: i + 1, Want: expectedText(want[i])})
		case !matches(want[i], &got[i]):
			out = append(out, Difference{Row: i + 1, Want: expectedText(want[i]), Got: letterText(&got[i])})
		}
	}
	return out
}

func matches(want config.ExpectedLetter, got *checkpoint.DeadLetter) bool {
	return (want.Row == 0 || want.Row == rowOfLetter(got)) && (want.Step == "" || want.Step == got.Step) &&
		(want.Column == "" || want.Column == got.Column) && (want.Code == "" || want.Code == got.Code) &&
		strings.Contains(got.Reason, want.Reason)
}

func letterText(l *checkpoint.DeadLetter) string {
	return letterLine(rowOfLetter(l), l.Step, l.Column, l.Code, l.Reason)
}

func expectedText(e config.ExpectedLetter) string {
	return letterLine(e.Row, e.Step, e.Column, e.Code, e.Reason)
}

func letterLine(row int, step, column, code, reason string) string {
	var parts []string
	if row > 0 {
		parts = append(parts, fmt.Sprintf("row %d", row))
	}
	for _, part := range []struct{ name, value string }{{"step ", step}, {"column ", column}, {"", code}, {"", reason}} {
		if part.value != "" {
			parts = append(parts, part.name+part.value)
		}
	}
	if len(parts) == 0 {
		return "any"
	}
	return strings.Join(parts, ", ")
}
