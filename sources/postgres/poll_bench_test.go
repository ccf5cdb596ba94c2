package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// polled is a table of 200,000 rows that a strategy follows.
type polledTable struct {
	config postgres.Config
	state  *notes
}

func newPolled(b *testing.B, strategy string) *polledTable {
	b.Helper()
	p := &polledTable{state: newNotes(), config: postgres.Config{Capture: postgres.Capture{Strategy: strategy, Margin: 200 * time.Millisecond}}}
	p.config.DSN = config.Secret(server.Database(b, `CREATE TABLE orders (id int8 PRIMARY KEY, customer int4, price numeric(12,2), placed timestamptz, status text, note text, qty int4, day date, paid bool, rate float8, code text, updated_at timestamptz NOT NULL DEFAULT now())`,
		`CREATE INDEX ON orders (updated_at, id)`,
		`INSERT INTO orders SELECT n, n % 1000, n / 7.0, now(), 'status ' || n % 5, md5(n::text), n % 50, '2026-01-01'::date + (n % 300)::int, n % 2 = 0, n / 3.0, 'c' || n FROM generate_series(1, 200000) n`, `ANALYZE orders`))
	if strategy == "xid" || strategy == "queue" {
		s := p.source(b)
		statements, err := s.Install(b.Context(), sources.InstallRequest{Strategy: strategy})
		if err == nil {
			err = s.Apply(b.Context(), statements, nil)
		}
		if err = errors.Join(err, s.Close()); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

func (p *polledTable) source(b *testing.B) *postgres.Source {
	b.Helper()
	s, err := postgres.New(p.config, sources.Host{Pipeline: "test", State: p.state})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// follow opens the lane that follows the table, and reads until ctx is over or the lane ends.
func (p *polledTable) follow(ctx context.Context, b *testing.B, drain bool) (records int) {
	b.Helper()
	s := p.source(b)
	defer func() { _ = s.Close() }()
	if drain {
		s.Drain()
	}
	lanes, err := s.Lanes(ctx)
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.Open(ctx, lanes[len(lanes)-1], "")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		chunk, err := r.Read(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return records
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, batch := range chunk.Batches {
			records += batch.Rows
		}
		chunk.Release()
		if err := r.Settle(ctx, chunk.To, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPoll reads 200,000 changed rows of 12 columns, with the server on the same machine: an op is all of them.
func BenchmarkPoll(b *testing.B) {
	for _, strategy := range []string{"xid", "queue", "xmin", "time"} {
		b.Run(strategy, func(b *testing.B) {
			changes := 0
			var wall, cpu time.Duration
			for b.Loop() {
				p := newPolled(b, strategy)
				func() { // it is begun before the changes
					s := p.source(b)
					defer func() { _ = s.Close() }()
					if _, err := s.Lanes(b.Context()); err != nil {
						b.Fatal(err)
					}
				}()
				server.Exec(b, string(p.config.DSN), `UPDATE orders SET qty = qty + 1, updated_at = now()`, `SELECT pg_sleep(0.3)`)
				before, began := cpuTime(b), time.Now()
				changes += p.follow(b.Context(), b, true)
				wall, cpu = wall+time.Since(began), cpu+cpuTime(b)-before
			}
			if changes < 200_000*b.N {
				b.Fatalf("%d changes", changes)
			}
			b.ReportMetric(float64(changes)/wall.Seconds(), "changes/s")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(changes), "client-ns/change")
		})
	}
}

// BenchmarkIdlePoll polls a table that does not change, and reports what the server's processes take for it.
func BenchmarkIdlePoll(b *testing.B) {
	for _, strategy := range []string{"xid", "queue", "time", "xmin"} {
		b.Run(strategy, func(b *testing.B) {
			p := newPolled(b, strategy)
			p.config.Capture.Every = 2 * time.Millisecond
			conn, err := pgx.Connect(b.Context(), string(p.config.DSN))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
			var polls int64
			var cpu time.Duration
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), 3*time.Second)
				done := make(chan struct{})
				go func() {
					p.follow(ctx, b, false)
					close(done)
				}()
				tick := time.NewTicker(500 * time.Millisecond)
				<-tick.C
				commits, used := serverWork(b, conn)
				for range 3 {
					<-tick.C
				}
				tick.Stop()
				now, total := serverWork(b, conn)
				polls, cpu = polls+now-commits, cpu+total-used
				cancel()
				<-done
			}
			b.ReportMetric(float64(polls)/float64(b.N), "polls")
			b.ReportMetric(float64(cpu.Microseconds())/float64(polls), "server-us/poll")
		})
	}
}

// serverWork gives the commits of the database and the CPU time of the backends of the pipeline.
func serverWork(b *testing.B, conn *pgx.Conn) (commits int64, cpu time.Duration) {
	b.Helper()
	rows, err := conn.Query(b.Context(), "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'acequia test'")
	if err != nil {
		b.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.Fatal(err)
	}
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + pid + "/schedstat")
		if err != nil {
			b.Skip(err)
		}
		var ns int64
		if _, err := fmt.Sscan(strings.Fields(string(text))[0], &ns); err != nil {
			b.Fatal(err)
		}
		cpu += time.Duration(ns)
	}
	if err := conn.QueryRow(b.Context(), "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").Scan(&commits); err != nil {
		b.Fatal(err)
	}
	return commits, cpu
}
