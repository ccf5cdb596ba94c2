package cost_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/cost"
)

// TestLines works each line out by hand, for a million rows of 1 KB.
func TestLines(t *testing.T) {
	t.Parallel()
	load := cost.Load{Rows: 1_000_000, Bytes: 1000, Days: 365, Queries: 1000}
	const month = 365.0 / 12
	for name, c := range map[string]struct {
		add  func(e *cost.Estimate)
		want []float64
	}{
		"lake":     {func(e *cost.Estimate) { e.Lake("lake", 2, 5*time.Minute) }, []float64{2 * 288 * 3 * 5e-6, 0.5 * 365 * 0.023 / month, 1000 * 477.0 / (1 << 20) * 5}},
		"no less":  {func(e *cost.Estimate) { e.Lake("lake", 1, 10*time.Millisecond) }, []float64{1e6 * 3 * 5e-6, 0.25 * 365 * 0.023 / month, 1000 * 239.0 / (1 << 20) * 5}},
		"items":    {func(e *cost.Estimate) { e.Items("items", "games", 3, 1, false) }, []float64{7 * 0.625, 7 * 365 * 0.45 / month}},
		"form":     {func(e *cost.Estimate) { e.Items("items", "games", 3, 1, true) }, []float64{8 * 0.625, 7 * 365 * 0.45 / month}},
		"stream":   {func(e *cost.Estimate) { e.Stream("changes", time.Second) }, []float64{86400 * 0.2e-6}},
		"queue":    {func(e *cost.Estimate) { e.Queue("changes", false, 4, 20*time.Second) }, []float64{(200_000 + 4*4320) * 0.4e-6}},
		"fifo":     {func(e *cost.Estimate) { e.Queue("changes", true, 1, 20*time.Second) }, []float64{(200_000 + 4320) * 0.5e-6}},
		"send":     {func(e *cost.Estimate) { e.Send("out", false) }, []float64{0.04}},
		"events":   {func(e *cost.Estimate) { e.Events("out") }, []float64{1}},
		"route":    {func(e *cost.Estimate) { e.Route("changes", false) }, []float64{0.04, 1, 0.4}},
		"straight": {func(e *cost.Estimate) { e.Route("changes", true) }, []float64{0.04, 0.05}},
		"database": {func(e *cost.Estimate) { e.Database("shop") }, []float64{24 * 0.065, 50 * 0.115 / month}},
	} {
		e := cost.New(load)
		c.add(e)
		sum := 0.0
		for i, want := range c.want {
			sum += want
			if len(e.Lines) != len(c.want) || math.Abs(e.Lines[i].USD-want) > 1e-9 {
				t.Fatalf("%s: %+v, want %v", name, e.Lines, c.want)
			}
		}
		if math.Abs(e.USD-sum) > 1e-9 || len(e.Assumptions) != 4 {
			t.Errorf("%s: %v, want %v", name, e.USD, sum)
		}
	}
}

// TestLargeRows are written in more units, and small queries count as ten megabytes.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	e := cost.New(cost.Load{Rows: 1, Bytes: 2049, Days: 1, Queries: 1})
	e.Items("items", "games", 0, 0, false)
	e.Lake("lake", 1, time.Hour)
	if e.Lines[0].Quantity != 3 || e.Lines[4].Quantity != 10.0/(1<<20) {
		t.Errorf("%+v", e.Lines)
	}
}

// TestQueryText is told as it is asked for: at least 10 MiB, whole MiB, nothing for what reads nothing.
func TestQueryText(t *testing.T) {
	t.Parallel()
	for read, want := range map[int64]string{
		0: "0.000000", 1: "0.000048", 10 << 20: "0.000048", 10<<20 + 1: "0.000052", 1 << 40: "5.000000", 3 << 39: "7.500000",
	} {
		if got := cost.QueryText(read); !strings.HasPrefix(got, want+" USD at 5.00 USD a TiB (2") {
			t.Errorf("%d: %s", read, got)
		}
	}
}
