package lakefiles_test

import (
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/lakefiles"
)

// A name says what the file is of, also of pipelines whose names look like parts of one.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, pipeline := range []string{"games", "a-b", "swap-20261128T110000-0123456789ab", "x-01234567-e1-g1-0-01234567", "ñ"} {
		want := lakefiles.Origin{Pipeline: pipeline, Lane: lakefiles.ShortLane("lane"), Epoch: 12, Group: 345}
		name := "games/dt=2026-11-28/" + want.FileName(6, "89abcdef")
		if got, ok := lakefiles.OriginOf(name); got != want || !ok {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
		if lakefiles.IsOutput(name) {
			t.Errorf("%s is taken for an output", name)
		}
	}
	output := "games/dt=2026-11-28/" + lakefiles.OutputName(lakefiles.NewID(time.Now()), 3, "89abcdef")
	if _, ok := lakefiles.OriginOf(output); ok || !lakefiles.IsOutput(output) {
		t.Errorf("%s is taken for a file of a pipeline", output)
	}
	for _, name := range []string{"a.parquet", "games-0123-e1-g1-0-89abcdef.parquet", "games-01234567-e1-g99999999999999999999-0-89abcdef.parquet"} {
		if _, ok := lakefiles.OriginOf(name); ok || lakefiles.IsOutput(name) {
			t.Errorf("%s is taken for ours", name)
		}
	}
}
