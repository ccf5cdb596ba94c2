package bench

import "testing"

// TestJobsRun runs every job small, so that a benchmark is known to measure what it says before anybody reads its figures.
func TestJobsRun(t *testing.T) {
	t.Parallel()
	const rows = 40_000
	for name, files := range map[string]float64{"copy-lake": 0, "read-lake": 0, "verify": 0, "verify-copies": 0, "encode": 0, "engine": 1, "engine-no-intents": 1, "engine-partitions": rows / 200} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := measure(t.Context(), name, rows)
			if err != nil {
				t.Fatal(err)
			}
			if got.Rows != rows || got.Figures["files"] != files || got.CPU <= 0 || got.Peak < 1<<20 {
				t.Errorf("%+v, want %d rows in %g files", got, rows, files)
			}
		})
	}
	t.Run("form-floor", func(t *testing.T) {
		t.Parallel()
		cmd, err := command(t.Context(), "form-floor", 0)
		if err != nil {
			t.Fatal(err)
		}
		s, err := startServer(cmd)
		if err != nil {
			t.Fatal(err)
		}
		const posted = 300
		got, err := load(t.Context(), s.url, 8, posted, 0)
		if err != nil || got.Rows != posted || got.Figures["p99"] < got.Figures["p50"] {
			t.Errorf("%+v, %v", got, err)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}
