package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rounds is how often each job runs; the jobs of a benchmark take turns, so that a busy minute hits all of them.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("ACEQUIA_BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 3
}

// spread is what a few samples of a figure say.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return spread{}
	}
	middle := v[len(v)/2]
	if len(v)%2 == 0 {
		middle = (middle + v[len(v)/2-1]) / 2
	}
	return spread{v[0], middle, v[len(v)-1]}
}

func (s spread) text(format func(float64) string) string {
	return fmt.Sprintf("%s (%s to %s)", format(s.median), format(s.low), format(s.high))
}

// figure takes one number from a sample.
type figure struct {
	name  string
	of    func(sample) float64
	print func(float64) string
}

func perCPUSecond() figure {
	return figure{"rows a CPU-second", func(s sample) float64 { return float64(s.Rows) / s.CPU.Seconds() }, thousands}
}

func perSecond() figure {
	return figure{"rows a second", func(s sample) float64 { return float64(s.Rows) / s.Wall.Seconds() }, thousands}
}

func peakMemory() figure {
	return figure{"peak MiB", func(s sample) float64 { return float64(s.Peak) / (1 << 20) }, func(v float64) string { return fmt.Sprintf("%.0f", v) }}
}

func named(name, key string, written func(float64) string) figure {
	return figure{name, func(s sample) float64 { return s.Figures[key] }, written}
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	text := strconv.FormatInt(int64(v+0.5), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

// table prints the figures of each job, a line a job, with their medians and spreads.
func table(b *testing.B, title string, order []string, samples map[string][]sample, figures ...figure) {
	b.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s (%d rounds, %d CPUs, %s)\n\n| run |", title, rounds(), runtime.NumCPU(), runtime.Version())
	for _, f := range figures {
		fmt.Fprintf(&out, " %s |", f.name)
	}
	fmt.Fprintf(&out, "\n|---|%s\n", strings.Repeat("---|", len(figures)))
	for _, name := range order {
		fmt.Fprintf(&out, "| %s |", name)
		for _, f := range figures {
			fmt.Fprintf(&out, " %s |", spreadOf(each(samples[name], f)).text(f.print))
		}
		out.WriteByte('\n')
	}
	fmt.Println(out.String()) //nolint:forbidigo // the table is what a benchmark prints
}

func each(samples []sample, f figure) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f.of(s)
	}
	return values
}

// ratio prints how a job stands to its floor, round by round, and reports the median as a metric.
func ratio(b *testing.B, what string, job, floor []sample, f figure) {
	b.Helper()
	values := make([]float64, len(job))
	for i := range job {
		values[i] = f.of(job[i]) / f.of(floor[i])
	}
	s := spreadOf(values)
	fmt.Printf("%s: %s\n", what, s.text(percent)) //nolint:forbidigo // as the table
	b.ReportMetric(s.median, strings.ReplaceAll(what, " ", "-"))
}
