package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/acequia-io/acequia/internal/cost"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// Plan tells what a project would do, without doing any of it.
type Plan struct {
	State     string         `json:"state"`
	New       bool           `json:"new"` // there is no state yet
	Pipelines []PipelinePlan `json:"pipelines"`
	Cost      *cost.Estimate `json:"cost,omitempty"` // nil: nobody asked
}

// PipelinePlan is the plan of one pipeline.
type PipelinePlan struct {
	Name    string       `json:"name"`
	Source  PartPlan     `json:"source"`
	Streams []StreamPlan `json:"streams"` // none: not known before it runs
	Sinks   []PartPlan   `json:"sinks"`
	Notes   []string     `json:"notes,omitempty"` // what it would create, and what it cannot promise
}

// PartPlan is a source or a sink.
type PartPlan struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Lines []string `json:"lines,omitempty"`
}

// StreamPlan follows the records of one stream.
type StreamPlan struct {
	Stream  string       `json:"stream"`
	Key     []string     `json:"key,omitempty"`
	Columns []string     `json:"columns"` // as read, with their types
	Steps   []StepChange `json:"steps,omitempty"`
}

// StepChange is what a step does to the columns of a stream.
type StepChange struct {
	Step    string   `json:"step"`
	Text    string   `json:"text"`              // its settings
	Changes []string `json:"changes,omitempty"` // +column type, -column, column type → type
}

// Plan makes the plan. Local files may be read for it; nothing is connected to.
func (p *Project) Plan(ctx context.Context) Plan {
	out := Plan{State: p.State}
	if _, err := os.Stat(filepath.Join(p.State, "state.db")); errors.Is(err, fs.ErrNotExist) {
		out.New = true
	}
	for _, d := range p.Pipelines {
		out.Pipelines = append(out.Pipelines, d.plan(ctx, p.State))
	}
	return out
}

func (d *Declared) plan(ctx context.Context, state string) PipelinePlan {
	out := PipelinePlan{Name: d.Name, Source: PartPlan{Name: d.Source.Name, Type: d.Source.Plugin.Type}}
	if d.Source.Plugin.Plan != nil {
		out.Source.Lines = d.Source.Plugin.Plan(ctx, d.Source.Settings)
	}
	out.Source.Lines = append(out.Source.Lines, d.asked...)
	for i, s := range d.In {
		stream := StreamPlan{Stream: s.Stream, Key: s.KeyNames()}
		for _, f := range s.Fields {
			stream.Columns = append(stream.Columns, f.Name+" "+f.TypeName())
		}
		for _, step := range d.Steps {
			change := StepChange{Step: step.Name, Text: step.Text}
			if i < len(step.Out) {
				change.Changes = changes(s, step.Out[i])
				s = step.Out[i]
			}
			stream.Steps = append(stream.Steps, change)
		}
		out.Streams = append(out.Streams, stream)
	}
	for _, part := range d.Sinks {
		sink := PartPlan{Name: part.Name, Type: part.Plugin.Type}
		if part.Plugin.Plan != nil {
			sink.Lines = part.Plugin.Plan(part.Settings, d.Out)
		}
		sink.Lines = append(append(sink.Lines, d.surveyed[part.Name]...), d.routed(part.Name)...)
		out.Sinks = append(out.Sinks, sink)
	}
	for _, step := range d.Steps {
		if step.key {
			out.Notes = append(out.Notes, fmt.Sprintf("%s uses the key in %s/mask.key, which the first run makes: without it the same values "+
				"are masked differently", step.Name, state))
		}
	}
	if len(d.In) == 0 {
		out.Notes = append(out.Notes, "the columns are not known before it runs: expressions are checked then, or by plan --connect where the source is a database")
	}
	viewed := slices.ContainsFunc(d.Sinks, func(part *SinkPart) bool { return part.Plugin.Type != "postgres" }) // a warehouse has no views
	for _, s := range d.Out {
		if len(s.Key) == 0 && viewed {
			out.Notes = append(out.Notes, fmt.Sprintf("%[1]s has no key: each record is a row of its own; the view %[2]s_latest has its newest complete "+
				"snapshot where the source makes one, and %[2]s_distinct has those that came twice once", s.Stream, schemas.LakeName(s.Stream)))
		}
	}
	return out
}

// changes tells two schemas apart, by the names of their columns.
func changes(from, to *record.Schema) []string {
	var out []string
	for _, f := range from.Fields {
		i := to.Index(f.Name)
		switch {
		case i < 0:
			out = append(out, "-"+f.Name)
		case to.Fields[i].TypeName() != f.TypeName():
			out = append(out, fmt.Sprintf("%s %s → %s", f.Name, f.TypeName(), to.Fields[i].TypeName()))
		}
	}
	for _, f := range to.Fields {
		if from.Index(f.Name) < 0 {
			out = append(out, fmt.Sprintf("+%s %s", f.Name, f.TypeName()))
		}
	}
	if len(out) == 0 && !slices.EqualFunc(from.Fields, to.Fields, func(a, b record.Field) bool { return a.Name == b.Name }) {
		out = append(out, "other order")
	}
	return out
}
