package sourcetest_test

import (
	"testing"

	"github.com/acequia-io/acequia/sources/sourcetest"
)

func TestRightSourcesPass(t *testing.T) {
	t.Parallel()
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		sourcetest.Run(t, harness(stream, ""))
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		sourcetest.Run(t, harness(file, ""))
	})
	t.Run("asker", func(t *testing.T) {
		t.Parallel()
		sourcetest.Run(t, harness(asker, ""))
	})
}

// TestSeededFaultsAreCaught shows that each promise is looked at: a source that breaks it fails the case.
func TestSeededFaultsAreCaught(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		wrong string
		kind  kind
		name  string
	}{
		{"bad type", stream, "the plugin describes itself"},
		{"no doc", stream, "the plugin describes itself"},
		{"shares its settings", stream, "the plugin describes itself"},
		{"takes any settings", stream, "the plugin describes itself"},
		{"lane names change", stream, "lanes are stable"},
		{"a lane twice", stream, "lanes are stable"},
		{"hides that it can be replayed", stream, "lanes are stable"},
		{"no lanes", stream, "lanes are stable"},
		{"describes another stream", stream, "the schemas are told before the records"},
		{"describes another shape", stream, "the schemas are told before the records"},
		{"cannot be checked", stream, "it can be checked"},
		{"loses a record", stream, "every record comes once, in order"},
		{"loses a record", file, "every record comes once, in order"},
		{"loses a record", asker, "every record comes once, in order"},
		{"gives a record twice", stream, "every record comes once, in order"},
		{"gives a record twice", file, "every record comes once, in order"},
		{"forgets a lane", file, "every record comes once, in order"},
		{"mixes the order up", stream, "updates and deletes are carried"},
		{"integers pass through floats", stream, "values survive"},
		{"null becomes empty", stream, "values survive"},
		{"texts are ASCII", stream, "values survive"},
		{"cuts long texts", stream, "big values survive"},
		{"updates as inserts", stream, "updates and deletes are carried"},
		{"forgets deletes", file, "updates and deletes are carried"},
		{"one version for all", stream, "versions grow with each change of a key"},
		{"versions of its own", stream, "versions grow with each change of a key"},
		{"one event id for all", stream, "system data is filled"},
		{"no event times", stream, "system data is filled"},
		{"does not say where from", stream, "system data is filled"},
		{"no ingest time", stream, "system data is filled"},
		{"lends its memory again", stream, "what was read stays as it was"},
		{"the position stands still", stream, "positions move"},
		{"resumes one too late", stream, "reading resumes after a settled position"},
		{"resumes one too late", file, "reading resumes after a settled position"},
		{"resumes one too early", stream, "reading resumes after a settled position"},
		{"new event ids each time", stream, "reading resumes after a settled position"},
		{"forgets what it read", stream, "what was not settled comes again"},
		{"takes a refusal for success", stream, "what was refused comes again"},
		{"takes any position", stream, "a foreign position is refused"},
		{"settling skips a record", stream, "settling before the first read changes nothing"},
		{"tells all that it is safe", asker, "settling answers who waits"},
		{"never answers one", asker, "settling answers who waits"},
		{"sleeps through changes", stream, "a read waits for records"},
		{"ignores the context", stream, "an ended context ends a read"},
		{"hides the context's error", stream, "an ended context ends a read"},
		{"drops what an ended read had", stream, "an ended read loses nothing"},
		{"a read outlives its reader", stream, "closing ends a read"},
		{"closing is the end", stream, "closing ends a read"},
		{"ends once", file, "a lane that has ended stays ended"},
		{"an empty place is an error", stream, "an empty place is no error"},
		{"lanes share a position", stream, "lanes are read side by side"},
		{"the lag is always nothing", stream, "the lag is told"},
		{"the lag never goes", stream, "the lag is told"},
		{"leaks a goroutine", stream, "nothing is left running"},
		{"leaks a goroutine", asker, "nothing is left running"},
		{"shows the secret", stream, "no error tells a secret"},
	} {
		t.Run(f.wrong, func(t *testing.T) {
			t.Parallel()
			if err := sourcetest.Check(t.Context(), f.name, harness(f.kind, f.wrong)); err == nil {
				t.Errorf("the case %q does not see it", f.name)
			} else if err2 := sourcetest.Check(t.Context(), f.name, harness(f.kind, "")); err2 != nil {
				t.Errorf("the case fails without the fault too: %v", err2)
			}
		})
	}
}

func BenchmarkMemory(b *testing.B) {
	sourcetest.Benchmark(b, harness(stream, ""), 5000)
}
