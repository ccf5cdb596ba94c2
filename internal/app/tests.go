package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/record"
)

// TestResult is what became of one test.
type TestResult struct {
	Pipeline string `json:"pipeline"`
	Name     string `json:"name"`
	config.Place
	Passed      bool         `json:"passed"`
	Error       string       `json:"error,omitempty"` // the pipeline stopped
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is one thing that a test wanted and did not get, or got and did not want. Values are JSON; "" is nothing.
type Difference struct {
	Sink   string `json:"sink,omitempty"`   // "" for a dead letter
	Row    int    `json:"row"`              // in the sink's rows, or among the dead letters, from 1
	Column string `json:"column,omitempty"` // "" for a row or dead letter as a whole
	Want   string `json:"want,omitempty"`
	Got    string `json:"got,omitempty"`
}

// Test runs the tests whose "pipeline/name" the filter takes. Masks have a fixed key in tests, so that what they make can be
// written down.
func (p *Project) Test(ctx context.Context, filter func(name string) bool) ([]TestResult, error) {
	var out []TestResult
	for _, d := range p.Pipelines {
		for _, t := range d.pipeline.Tests {
			if !filter(d.Name + "/" + t.Name) {
				continue
			}
			r, err := p.test(ctx, d, t)
			if err != nil {
				return out, err
			}
			out = append(out, r)
		}
	}
	return out, ctx.Err()
}

func (p *Project) test(ctx context.Context, d *Declared, t *config.Test) (TestResult, error) {
	r := TestResult{Pipeline: d.Name, Name: t.Name, Place: t.Place()}
	batch, problems := d.testBatch(t)
	if problems.Errors() {
		return r, problems
	}
	steps, err := d.handlers(p.plugins, placeholder)
	if err != nil {
		return r, err
	}
	var to []jobs.TrialSink
	for _, part := range d.Sinks {
		to = append(to, jobs.TrialSink{Name: part.Name, Refuses: part.Plugin.Refuses})
	}
	outcome, err := jobs.Try(ctx, d.Name, steps, to, batch)
	if err != nil {
		r.Error = err.Error()
		return r, ctx.Err()
	}
	for _, sink := range to {
		if want, looked := wanted(t, sink.Name); looked {
			r.Differences = append(r.Differences, compareRows(sink.Name, want, outcome.Batches[sink.Name], t.Exact)...)
		}
	}
	r.Differences = append(r.Differences, compareLetters(t.DeadLetters, outcome.Letters)...)
	r.Passed = len(r.Differences) == 0
	return r, nil
}

// wanted gives the rows that a sink must get; looked is false when they do not matter.
func wanted(t *config.Test, sink string) (rows []config.Row, looked bool) {
	if t.Output == nil {
		return nil, false
	}
	if t.Output.BySink == nil {
		return t.Output.All, true
	}
	rows, _ = t.Output.BySink.Get(sink)
	return rows, true
}

// checkTests finds the mistakes of the tests of a pipeline.
func (c *checker) checkTests(d *Declared) {
	sinks := make([]string, len(d.pipeline.To))
	for i, r := range d.pipeline.To {
		sinks[i] = r.Name
	}
	steps := slices.Clone(sinks)
	for _, s := range d.Steps {
		steps = append(steps, s.Name)
	}
	for _, t := range d.pipeline.Tests {
		_, problems := d.testBatch(t)
		c.add(problems...)
		c.checkExpectedLetters(t, steps)
		if t.Output != nil {
			c.checkOutput(d, t, sinks)
		}
	}
}

func (c *checker) checkExpectedLetters(t *config.Test, steps []string) {
	for i, letter := range t.DeadLetters {
		at := fmt.Sprintf("dead_letters.%d", i)
		if letter.Step != "" && !slices.Contains(steps, letter.Step) {
			c.add(t.At(at+".step", config.Suggest(letter.Step, steps), "the pipeline has no step and no sink %q", letter.Step))
		}
		if letter.Row < 0 || letter.Row > len(t.Input) {
			c.add(t.At(at+".row", "count from 1", "there is no row %d of the input", letter.Row))
		}
	}
}

func (c *checker) checkOutput(d *Declared, t *config.Test, sinks []string) {
	rows := t.Output.All
	for _, e := range t.Output.BySink {
		if !slices.Contains(sinks, e.Name) {
			c.add(t.Output.OfSink(t, e.Name, sinks))
		}
		rows = append(rows, e.Value...)
	}
	in := d.testStream(t)
	i := slices.IndexFunc(d.Out, func(s *record.Schema) bool { return in != nil && s.Stream == in.Stream })
	if i < 0 {
		return // what comes out is known when the test runs
	}
	for _, row := range rows {
		_, problems := jsonValues(row, d.Out[i])
		c.add(problems...)
	}
}

// testStream is the schema of a test's records; nil: it is not known.
func (d *Declared) testStream(t *config.Test) *record.Schema {
	if t.Stream == "" && len(d.In) == 1 {
		return d.In[0]
	}
	i := slices.IndexFunc(d.In, func(s *record.Schema) bool { return s.Stream == t.Stream })
	if i < 0 {
		return nil
	}
	return d.In[i]
}

// testTime is the event time of a test's first record; each other is a second later than the one before.
func testTime(row int) int64 {
	return time.Date(2000, 1, 1, 0, 0, row, 0, time.UTC).UnixMicro()
}

// testBatch makes the records of a test. The number of a row, from 1, is its version.
func (d *Declared) testBatch(t *config.Test) (*record.Batch, config.Problems) {
	in := d.testStream(t)
	if in == nil {
		known := make([]string, len(d.In))
		for i, s := range d.In {
			known[i] = s.Stream
		}
		switch {
		case len(known) == 0:
			return nil, config.Problems{t.At("", "declare the schema of source "+d.pipeline.From.Name, "the columns of its records are not known")}
		case t.Stream == "":
			return nil, config.Problems{t.At("", "add stream: ..., one of "+strings.Join(known, ", "), "the source has several streams")}
		}
		return nil, config.Problems{t.At("stream", config.Suggest(t.Stream, known), "the source has no stream %q", t.Stream)}
	}
	b := record.NewBuilder(in, len(t.Input))
	sys := b.System()
	sys.Source, sys.IngestTime = "test."+in.Stream, testTime(0)
	var problems config.Problems
	for i, row := range t.Input {
		text, mistakes := rowJSON(row, in.Fields)
		system, more := systemOf(row, i)
		problems = append(append(problems, mistakes...), more...)
		if len(mistakes)+len(more) > 0 {
			continue
		}
		if err := b.AppendJSON(text); err != nil {
			problems = append(problems, valueProblems(row, err)...)
			continue
		}
		sys.Ops = append(sys.Ops, system.op)
		sys.EventTimes = append(sys.EventTimes, system.at)
		sys.EventIDs.AppendText([]byte(system.id))
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(i)+1)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return b.Batch(nil), nil
}

// valueProblems gives each column's mistake its place.
func valueProblems(row config.Row, err error) config.Problems {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		var out config.Problems
		for _, one := range joined.Unwrap() {
			out = append(out, valueProblems(row, one)...)
		}
		return out
	}
	if e, ok := errors.AsType[*record.ColumnError](err); ok {
		reason := e.Err.Error()
		if _, after, found := strings.Cut(reason, ": "); found && strings.HasPrefix(reason, "JSON at byte ") {
			reason = after // the JSON was made here
		}
		return config.Problems{row.At(e.Column, "", "%s: %s", e.Column, reason)}
	}
	return config.Problems{row.At("", "", "%v", err)}
}
