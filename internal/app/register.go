package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/canonical"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/handlers/normalize"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/itemchanges"
)

// memory is the target for the process, in bytes.
const memory = 256 << 20

// keyLife is how long the answer to an Idempotency-Key is remembered; the form promises at least 24 h.
const keyLife = 48 * time.Hour

// register is the video-game register: form -> items, and the items' changes -> handlers -> lake. The form answers when
// its item is durable; the lake is fed from what the items became, so that it can never hold what they refused.
type register struct {
	table  *schemas.Table
	steps  []routers.Step
	output *record.Schema // of what reaches the lake
}

func newRegister(table *schemas.Table) (*register, error) {
	r := &register{table: table, output: table.Schema()}
	tidy, err := normalize.New(normalize.Config{})
	if err != nil {
		return nil, fmt.Errorf("make register: %w", err)
	}
	genre, err := canonical.New(canonical.Config{Column: "genre", Options: genres(table), Unknown: "dead_letter", Aliases: map[string]string{
		"RPG": "Role-Playing", "Rol": "Role-Playing", "Acción": "Action", "Aventura": "Adventure", "Lucha": "Fighting",
		"Plataformas": "Platform", "Puzle": "Puzzle", "Carreras": "Racing", "Disparos": "Shooter", "Simulación": "Simulation",
		"Deportes": "Sports", "Estrategia": "Strategy", "Otro": "Other",
	}})
	if err != nil {
		return nil, fmt.Errorf("make register: %w", err)
	}
	decade, err := derive.New(derive.Config{Columns: config.Ordered[derive.Column]{
		{Name: "decade", Value: derive.Column{Expr: "row.year / 10 * 10", Type: "int32"}},
	}})
	if err != nil {
		return nil, fmt.Errorf("make register: %w", err)
	}
	r.steps = []routers.Step{{Name: "normalize", Handler: tidy}, {Name: "canonical", Handler: genre}, {Name: "derive", Handler: decade}}
	for _, s := range r.steps {
		shaper, ok := s.Handler.(handlers.Shaper)
		if !ok {
			continue
		}
		if r.output, err = shaper.Shape(r.output); err != nil {
			return nil, fmt.Errorf("make register: step %s: %w", s.Name, err)
		}
	}
	return r, nil
}

// genres gives the canonical values of the genre, as the declaration lists them.
func genres(table *schemas.Table) []string {
	var out []string
	for _, o := range table.Fields[table.Index("genre")].Options {
		out = append(out, o.Value)
	}
	return out
}

// pipelines makes the two runs of the register and declares its tables.
func (r *register) pipelines(ctx context.Context, d *Dir, form sources.Source, parts pipelineParts) (runs []*routers.Run, err error) {
	options := routers.Options{Store: parts.state, Budget: routers.NewBudget(memory), Log: parts.log}
	itemSink := items.New(items.Config{Tables: map[string]items.Table{
		r.table.Name: {Indexes: itemIndexes(r.table)},
		"form_keys":  {TTL: keyLife, NoChanges: true},
	}}, parts.items)
	described, ok := form.(sources.Describer)
	if !ok {
		return nil, errors.New("the form cannot tell its schemas")
	}
	declared, err := described.Describe(ctx)
	if err != nil {
		return nil, err
	}
	if err := itemSink.Declare(ctx, declared); err != nil {
		return nil, err
	}
	lakeSink, err := lake.New(lake.Config{URL: d.Lake(), Partition: r.table.Partition}, memory*35/100, parts.log)
	if err != nil {
		return nil, err
	}
	if err := lakeSink.Declare(ctx, []*record.Schema{r.output}); err != nil {
		return nil, err
	}
	changes := itemchanges.New(itemchanges.Config{Table: r.table.Name, Schema: r.table.Schema(), Reader: r.table.Name + "-lake"}, parts.items)
	for _, p := range []routers.Pipeline{
		{
			Name: r.table.Name + "-items", Source: form, Slots: 1,
			Sinks: []routers.NamedSink{{Name: "items", Sink: itemSink}},
			Retry: routers.Retry{Initial: 100 * time.Millisecond, Longest: 2 * time.Second},
		},
		{
			Name: r.table.Name + "-lake", Source: changes, Slots: 1, Steps: r.steps,
			Sinks:  []routers.NamedSink{{Name: "lake", Sink: lakeSink}},
			Limits: routers.Limits{Age: time.Second, Idle: 300 * time.Millisecond},
			Retry:  routers.Retry{Longest: 5 * time.Second},
		},
	} {
		o := options
		if parts.wire != nil {
			parts.wire(&p, &o)
		}
		run, err := routers.New(p, o)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

func itemIndexes(t *schemas.Table) []itemstore.Index {
	var out []itemstore.Index
	for _, x := range t.Indexes {
		out = append(out, itemstore.Index{Name: x.Name, Columns: x.Columns})
	}
	return out
}

// pipelineParts is what the pipelines share.
type pipelineParts struct {
	state *checkpoint.Store
	items *itemstore.Store
	log   *slog.Logger
	wire  func(p *routers.Pipeline, o *routers.Options) // nil but in crash tests
}
