package app

import (
	"io"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// What a source says of its server is a metric: what is kept, and the time until it is lost.
func TestMetricsTellWhenDataIsLost(t *testing.T) {
	t.Parallel()
	_, source, err := flood(t, t.TempDir(), 0, func() error { return io.EOF })
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(newMetrics(source.service.Status)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"acequia_source_loss_seconds": 7200, "acequia_source_held_bytes": 7, "acequia_rows_committed_total": 1} {
		if got[name] != want {
			t.Errorf("%s is %g, want %g", name, got[name], want)
		}
	}
}
