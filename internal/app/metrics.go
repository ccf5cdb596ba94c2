package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/acequia-io/acequia/routers"
)

// metrics reads the status of the runs whenever Prometheus asks.
type metrics struct {
	status                                                                                                            func() []routers.Status
	read, committed, byTable, letters, retries, unrouted, groups, state, lag, age, loss, kept, trimmed, held, lastSet *prometheus.Desc
}

func newMetrics(status func() []routers.Status) *metrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("acequia_"+name, help, append([]string{"pipeline"}, labels...), nil)
	}
	return &metrics{
		status:    status,
		read:      describe("rows_read_total", "Records read from the source."),
		committed: describe("rows_committed_total", "Records durable and visible in every sink."),
		byTable:   describe("table_rows_total", "Records of a table that are durable, dead letters among them.", "table"),
		letters:   describe("dead_letters_total", "Records kept as dead letters."),
		retries:   describe("retries_total", "Restarts after failures that may pass."),
		unrouted:  describe("unrouted_total", "Records that a route sent to no sink."),
		groups:    describe("commits_total", "Commit groups."),
		state:     describe("pipeline_state", "1 for the state that the pipeline is in.", "state"),
		lag:       describe("source_lag_rows", "Records that the source has and the sinks do not."),
		age:       describe("source_lag_seconds", "Age of the oldest of them."),
		loss:      describe("source_loss_seconds", "Time until the first record that was not read is lost at the source, at the rate of now; none: never."),
		kept:      describe("source_held_bytes", "What the source's server keeps until it was read."),
		trimmed:   describe("source_trimmed_total", "How often the source had thrown away what was not read: data is lost."),
		held:      describe("held_bytes", "Batches in flight and open writers."),
		lastSet:   describe("last_commit_timestamp_seconds", "When the last group was committed."),
	}
}

// Describe gives what is collected.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.read, m.committed, m.byTable, m.letters, m.retries, m.unrouted, m.groups, m.state, m.lag, m.age, m.loss, m.kept, m.trimmed, m.held, m.lastSet} {
		out <- d
	}
}

// Collect asks what the pipelines do.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, s := range m.status() {
		count := func(d *prometheus.Desc, n int64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), s.Pipeline)
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.Pipeline}, labels...)...)
		}
		count(m.read, s.RowsRead)
		count(m.committed, s.RowsCommitted)
		for table, n := range s.ByStream {
			out <- prometheus.MustNewConstMetric(m.byTable, prometheus.CounterValue, float64(n), s.Pipeline, table)
		}
		count(m.letters, s.DeadLetters)
		count(m.retries, s.Retries)
		count(m.unrouted, s.Unrouted)
		count(m.groups, s.Commits)
		gauge(m.state, 1, string(s.State))
		gauge(m.held, float64(s.Held))
		if s.Lag != nil {
			gauge(m.lag, float64(s.Lag.Records))
			gauge(m.age, s.Lag.Age.Seconds())
		}
		if loss := s.Loss(); loss > 0 {
			gauge(m.loss, loss.Seconds())
		}
		if s.Source != nil {
			gauge(m.kept, float64(s.Source.Held))
			count(m.trimmed, s.Source.Trimmed)
		}
		if !s.LastCommit.IsZero() {
			gauge(m.lastSet, float64(s.LastCommit.UnixMilli())/1000)
		}
	}
}
