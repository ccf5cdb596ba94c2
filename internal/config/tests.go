package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// Test is a case of tests: records to put through a pipeline, and what must come out.
type Test struct {
	testKeys
	file *source
	key  *node
}

type testKeys struct {
	Name     string  `yaml:"name" required:"true" doc:"What the test shows."`
	Pipeline string  `yaml:"pipeline" doc:"The pipeline; only for tests at the top of a file that has several."`
	Stream   string  `yaml:"stream" doc:"The stream of the records, where the source has several."`
	Input    []Row   `yaml:"input" required:"true" doc:"The records, by column. _op, _event_ts and _event_id may be given too; a column that is not is null."`
	Output   *Output `yaml:"output" doc:"What must reach the sinks, in order. A list is for each sink; with a mapping, sinks that it does not name must get nothing. Without output nothing is compared."`
	Exact    bool    `yaml:"exact" doc:"Columns that an output row does not name must be null; else they are not compared."`
	// DeadLetters are compared with all that come out: without the key there must be none.
	DeadLetters []ExpectedLetter `yaml:"dead_letters" doc:"The dead letters that must come out, by row; without it there must be none."`
}

// ExpectedLetter is a dead letter as a test expects it. What is not given is not compared.
type ExpectedLetter struct {
	Row    int    `yaml:"row" doc:"Which row of the input it is of, from 1."`
	Step   string `yaml:"step" doc:"The step or sink that refuses it."`
	Column string `yaml:"column" doc:"The column at fault."`
	Code   string `yaml:"code" doc:"The code of the error."`
	Reason string `yaml:"reason" doc:"A part of the reason."`
}

// Output is what a test expects of sinks.
type Output struct {
	All    []Row          // for each sink; valid when BySink is nil
	BySink Ordered[[]Row] // what no name stands for must be empty
	named  map[string]*node
}

// Row is a record as a test writes it.
type Row struct {
	file *source
	node *node
}

// Place is where something stands in a file.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Place gives where the test stands.
func (t *Test) Place() Place { return Place{t.file.path, t.key.line, t.key.column} }

// At makes a mistake of a key of the test; one inside another is written with a dot.
func (t *Test) At(key, remedy, format string, args ...any) Problem {
	n := t.key
	if k, v, found := t.key.find(t.key, strings.Split(key, ".")); found {
		n = spot(k, v)
	}
	return t.file.at(n, CodeWrong, remedy, "test "+t.Name+": "+format, args...)
}

// OfSink makes a mistake of a sink that output names.
func (o *Output) OfSink(t *Test, sink string, known []string) Problem {
	return t.file.at(o.named[sink], CodeReference, suggest(sink, known), "test %s: the pipeline has no sink %q", t.Name, sink)
}

// Columns gives the names in order.
func (r Row) Columns() []string {
	out := make([]string, len(r.node.pairs))
	for i, p := range r.node.pairs {
		out[i] = p.key.text
	}
	return out
}

// Place gives where the row stands.
func (r Row) Place() Place { return Place{r.file.path, r.node.line, r.node.column} }

// At makes a mistake of the value of a column; of "" it is the row's.
func (r Row) At(column, remedy, format string, args ...any) Problem {
	n := r.node
	if p, ok := r.node.get(column); ok {
		n = spot(p.key, p.value)
	}
	return r.file.at(n, CodeWrong, remedy, format, args...)
}

// Unknown makes the mistake of a column that is none of the known.
func (r Row) Unknown(column string, known []string) Problem {
	p, _ := r.node.get(column)
	return r.file.at(p.key, CodeUnknown, suggest(column, known), "there is no column %q", column)
}

// AppendJSON appends the value of a column as record.Builder.AppendJSON reads it: what is written as a number may be meant
// for a text, a decimal or a time.
func (r Row) AppendJSON(dst []byte, f record.Field) []byte {
	p, _ := r.node.get(f.Name)
	return appendJSON(dst, p.value, f)
}

func appendJSON(dst []byte, n *node, f record.Field) []byte {
	switch n.kind {
	case null:
		return append(dst, "null"...)
	case list:
		element := record.Field{Kind: record.String}
		if f.Kind == record.List {
			element = f.Fields[0]
		}
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, item, element)
		}
		return append(dst, ']')
	case mapping:
		dst = append(dst, '{')
		for i, p := range n.pairs {
			if i > 0 {
				dst = append(dst, ',')
			}
			member := record.Field{Kind: record.String}
			if at := slices.IndexFunc(f.Fields, func(m record.Field) bool { return m.Name == p.key.text }); f.Kind == record.Struct && at >= 0 {
				member = f.Fields[at]
			}
			dst = appendJSON(append(record.AppendJSONString(dst, p.key.text), ':'), p.value, member)
		}
		return append(dst, '}')
	case scalar:
	}
	bare := n.style == plain && json.Valid([]byte(n.text))
	switch f.Kind {
	case record.Bool, record.Int32, record.Int64, record.Float32, record.Float64:
		if bare {
			return append(dst, n.text...)
		}
	case record.Struct, record.List:
		if bare {
			return append(dst, n.text...) // a mistake that the record's reader names
		}
	default:
	}
	return record.AppendJSONString(dst, strings.ToValidUTF8(n.text, "\ufffd"))
}

// special fills the values that tests hold.
func (d *decoder) special(v reflect.Value, n *node, f field) bool {
	switch v.Type() {
	case reflect.TypeFor[Row]():
		if n.kind != mapping {
			d.wrong(n, f.name, "a mapping of columns to values", "")
			return true
		}
		v.Set(reflect.ValueOf(Row{d.file, n}))
	case reflect.TypeFor[Output]():
		v.Set(reflect.ValueOf(d.output(n, f)))
	default:
		return false
	}
	return true
}

func (d *decoder) output(n *node, f field) Output {
	out := Output{named: map[string]*node{}}
	if n.kind != mapping {
		d.slice(reflect.ValueOf(&out.All).Elem(), n, f)
		return out
	}
	out.BySink = Ordered[[]Row]{}
	for _, p := range n.pairs {
		var rows []Row
		if p.value.kind == list || p.value.broken {
			d.slice(reflect.ValueOf(&rows).Elem(), p.value, field{name: p.key.text})
		} else {
			d.wrong(p.value, p.key.text, "a list of rows", "output holds a list of rows, or such a list by sink")
		}
		out.BySink = append(out.BySink, Entry[[]Row]{Name: p.key.text, Value: rows})
		out.named[p.key.text] = p.key
	}
	return out
}

// test reads one test; nil when it is none.
func (l *linter) test(n *node) *Test {
	if n.broken {
		return nil
	}
	t := &Test{file: l.decoder.file, key: n}
	before := len(l.problems)
	l.structure(reflect.ValueOf(&t.testKeys).Elem(), n, n, "the test")
	if p, ok := n.get("name"); ok && p.value.kind == scalar {
		t.key = &node{kind: mapping, line: p.value.line, column: p.value.column, width: p.value.width, pairs: n.pairs}
	}
	if l.problems[before:].Errors() {
		return nil
	}
	if t.Output == nil && len(t.DeadLetters) == 0 {
		l.problem(t.key, CodeMissing, "add output: or dead_letters:", "test %s compares nothing", t.Name)
	}
	return t
}

func (l *linter) testsOf(p *Pipeline, all []*node) {
	for _, n := range all {
		if t := l.test(n); t != nil {
			if t.Pipeline != "" && t.Pipeline != p.Name {
				l.problems = append(l.problems, t.At("pipeline", "remove the key", "it stands in pipeline %s", p.Name))
			}
			p.Tests = append(p.Tests, t)
		}
	}
}

// tests gives the tests of the file to the pipelines that they name; one that names none goes to the only pipeline.
func (l *linter) tests(all []*node) {
	known := make([]string, len(l.file.Pipelines))
	for i, p := range l.file.Pipelines {
		known[i] = p.Name
	}
	for _, n := range all {
		t := l.test(n)
		if t == nil {
			continue
		}
		i := slices.Index(known, t.Pipeline)
		switch {
		case t.Pipeline == "" && len(known) == 1:
			i = 0
		case t.Pipeline == "" && len(known) > 1:
			l.problems = append(l.problems, t.At("", "add pipeline: ..., one of "+strings.Join(known, ", "), "the file has several pipelines"))
		case t.Pipeline != "" && i < 0:
			p := t.At("pipeline", suggest(t.Pipeline, known), "there is no pipeline %q", t.Pipeline)
			p.Code = CodeReference
			l.problems = append(l.problems, p)
		}
		if i >= 0 {
			l.file.Pipelines[i].Tests = append(l.file.Pipelines[i].Tests, t)
		}
	}
}
