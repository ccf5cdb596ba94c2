package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
)

// jobMetrics reads what became of jobs, and looks at the servers that pipelines need, whenever Prometheus asks.
type jobMetrics struct {
	board  *jobs.Board
	health *health

	jobs, running, seconds, last, succeeded, up, latency *prometheus.Desc
}

func newJobMetrics(board *jobs.Board, h *health) *jobMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("acequia_"+name, help, labels, nil)
	}
	return &jobMetrics{
		board: board, health: h,
		jobs:      describe("jobs_total", "Jobs that are over, since the process began.", "kind", "state"),
		running:   describe("jobs", "Jobs that are queued or running.", "kind", "state"),
		seconds:   describe("job_seconds_total", "How long jobs have taken, since the process began.", "kind"),
		last:      describe("job_last_seconds", "How long the newest job took.", "kind"),
		succeeded: describe("job_last_success_timestamp_seconds", "When a job last succeeded, whole.", "kind"),
		up:        describe("connection_up", "1 when a server that pipelines need can be used, as GET /health says, else 0.", "server"),
		latency:   describe("connection_seconds", "How long it took to look.", "server"),
	}
}

// Describe gives what is collected.
func (m *jobMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.jobs, m.running, m.seconds, m.last, m.succeeded, m.up, m.latency} {
		out <- d
	}
}

// Collect asks.
func (m *jobMetrics) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, as prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, as, v, labels...)
	}
	m.board.Each(func(kind string, state checkpoint.JobState, n int64) {
		if state.Over() {
			send(m.jobs, prometheus.CounterValue, float64(n), kind, string(state))
			return
		}
		send(m.running, prometheus.GaugeValue, float64(n), kind, string(state))
	}, func(kind string, t jobs.Took) {
		send(m.seconds, prometheus.CounterValue, t.Sum.Seconds(), kind)
		send(m.last, prometheus.GaugeValue, t.Last.Seconds(), kind)
		if !t.Succeeded.IsZero() {
			send(m.succeeded, prometheus.GaugeValue, float64(t.Succeeded.UnixMilli())/1000, kind)
		}
	})
	for server, c := range m.health.look(context.Background()) { // bounded by itself
		up := 0.0
		if c.Status == jobs.OK {
			up = 1
		}
		send(m.up, prometheus.GaugeValue, up, server)
		send(m.latency, prometheus.GaugeValue, c.Latency/1000, server)
	}
}
