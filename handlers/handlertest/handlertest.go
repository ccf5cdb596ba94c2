// Package handlertest is the suite that every handler passes.
package handlertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// Setter sets a column of the row that a builder is at, or gives false to leave it to the suite's own values.
type Setter func(b *record.Builder, column, row int) bool

// Harness says what the suite needs to know of a handler. Only Plugin and Schema are required.
type Harness struct {
	Plugin handlers.Plugin
	// Config is the handler's settings as the user writes them, in YAML.
	Config string
	// Wrong are settings that New must refuse, each under a word that the error has to say.
	Wrong map[string]string
	// Schema is what the handler is given. Its nullable columns are given null and absent values too.
	Schema *record.Schema
	// Unfit are schemas that the handler must refuse.
	Unfit []*record.Schema
	// Good sets what a column must hold so that its row passes. Nil: the handler takes any value.
	Good Setter
	// Bad sets what makes the handler refuse the row. Nil: it refuses no row.
	Bad Setter
	// Writes are the columns that the handler changes, adds or removes. All others must come out as they went in.
	Writes []string
	// Routes says that it may change which sinks a row is for.
	Routes bool
	// Resizes says that it may drop or add rows. Otherwise the rows that come out are those that went in, in order.
	Resizes bool
	// Forgets says that an update may come out as the delete of its key.
	Forgets bool
}

// Run runs the suite. A random case prints its seed; ACEQUIA_SEED gives it back.
func Run(t *testing.T, h Harness) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ACEQUIA_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("ACEQUIA_SEED: %v", err)
		}
		seed = n
	}
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.check(t.Context(), h, newMaker(h, seed)); err != nil {
				t.Errorf("%v (ACEQUIA_SEED=%d)", err, seed)
			}
		})
	}
}

// Benchmark gives 10,000-row batches of good rows to the handler and reports nanoseconds a row.
func Benchmark(b *testing.B, h Harness) {
	b.Helper()
	const rows = 10_000
	handler, err := h.handler()
	if err != nil {
		b.Fatal(err)
	}
	batch := newMaker(h, 1).batch(rows, plain)
	b.ReportAllocs()
	for b.Loop() {
		out, err := handler.Handle(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		release(out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

// handler makes the handler as the program does: from the plugin and the text of its settings.
func (h Harness) handler() (handlers.Handler, error) {
	return h.configured(h.Config)
}

func (h Harness) configured(settings string) (handlers.Handler, error) {
	config := h.Plugin.Config()
	if settings != "" {
		if err := yaml.UnmarshalWithOptions([]byte(settings), config, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("read the settings: %w", err)
		}
	}
	return h.Plugin.New(config)
}

// testCase is one promise of a handler. It gives what breaks the promise.
type testCase struct {
	name  string
	check func(ctx context.Context, h Harness, m *maker) error
}

func cases() []testCase {
	return []testCase{
		{"the plugin describes itself", describes},
		{"wrong settings are refused", refusesSettings},
		{"a schema that does not fit is refused", refusesSchemas},
		{"the shape is what comes out", shapes},
		{"the input is not changed", inputUnchanged},
		{"references balance", references},
		{"what comes out outlives what went in", outlives},
		{"system data is carried", carriesSystem},
		{"other columns come out as they went in", carriesColumns},
		{"what comes out is well formed", wellFormed},
		{"constant columns are worth their rows", constants},
		{"rows do not depend on their batch", rowsAlone},
		{"an empty batch passes", empty},
		{"deletes and truncates pass", deletes},
		{"exactly the bad rows are named", namesBadRows},
		{"the rows that are left pass", rowsLeft},
		{"a bad constant makes every row bad", badConstant},
		{"lanes share the handler", lanes},
		{"an ended context ends it", ended},
		{"what is durable is remembered, and nothing else", remembers},
	}
}

func release(batches []*record.Batch) {
	for _, b := range batches {
		b.Release()
	}
}

// maker makes batches for a handler.
type maker struct {
	h   Harness
	rng *rand.Rand
}

func newMaker(h Harness, seed uint64) *maker {
	return &maker{h: h, rng: rand.New(rand.NewPCG(seed, 0))}
}
