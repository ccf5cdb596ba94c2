// Package sinktest is the suite that every sink passes.
package sinktest

import (
	"context"
	"testing"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Row is a visible record of the suite's schema. A sink that keeps no values of deleted records shows a null text.
type Row struct {
	ID      int64
	Text    string
	Null    bool // the text is null
	Op      record.Op
	Version string
}

// Place is where a sink under test writes.
type Place struct {
	// Sink gives a fresh sink over the place, as after a restart.
	Sink func() (sinks.Sink, error)
	// Rows gives what is visible now, in any order: one row for each record that took effect.
	Rows func() ([]Row, error)
	// Count stands for Rows where a sink keeps no rows: how many took effect. Values are not looked at then.
	Count func() (int, error)
	// Staged counts what is staged and not visible; nil when the sink stages nothing.
	Staged func() (int, error)
	// Lose removes a staged part behind the sink's back. Needed with Staged.
	Lose func(f sinks.File) error
	// Take puts other content where the part would become visible; nil when that cannot be.
	Take func(f sinks.File) error
}

// Harness says what the suite needs to know of a sink.
type Harness struct {
	// New makes an empty place.
	New func(t *testing.T) Place
	// StageShows says that a sink whose writes are idempotent by version may write in Stage.
	StageShows bool
	// Refused is a text that no row may hold, neither alone nor as a part; "" when the sink takes any.
	Refused string
}

// Schema is what the suite writes: a key and a text that may be null.
func Schema() (*record.Schema, error) {
	return record.NewSchema("suite", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "text", Kind: record.String, Nullable: true})
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.check(t.Context(), h, h.New(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// testCase is one promise of a sink. It gives what breaks the promise.
type testCase struct {
	name  string
	check func(ctx context.Context, h Harness, p Place) error
}

func cases() []testCase {
	return []testCase{
		{"published rows are visible as they were written", showsRows},
		{"values survive", keepsValues},
		{"operations and versions are carried", carriesSystem},
		{"nothing is visible before publish", hides},
		{"publishing again changes nothing", publishesOnce},
		{"the manifest says what is staged", describesParts},
		{"a new owner rolls an intent forward", rollsForward},
		{"a sweep removes what no intent names", sweeps},
		{"a sweep spares what is not its own", spares},
		{"a part that has vanished is told and withdrawn", vanishes},
		{"what is visible is not withdrawn", withdraws},
		{"a final name that is taken is told", conflicts},
		{"a group is what was written before its cut", cuts},
		{"an empty group leaves nothing", leavesNothing},
		{"exactly the bad rows are named", namesBadRows},
		{"a refused batch has no effect", takesNothing},
		{"an open group is let go", closes},
		{"what is staged outlives its writer", outlives},
		{"memory is told and given back", holds},
		{"a batch is kept with a reference", retains},
		{"lanes do not disturb each other", sharesLanes},
	}
}
