package postgres_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// BenchmarkLog reads changes that wait in the log, with the server on the same machine: an op is a change.
func BenchmarkLog(b *testing.B) {
	const rows = 200_000
	dsn := server.Database(b, `CREATE TABLE orders (id int8 PRIMARY KEY, customer int4, price numeric(12,2), placed timestamptz, status text, note text, qty int4, day date, paid bool, rate float8, code text, city text)`)
	fill := `INSERT INTO orders SELECT n, n % 1000, n / 7.0, now(), 'status ' || n % 5, md5(n::text), n % 50, '2026-01-01'::date + (n % 300)::int, n % 2 = 0, n / 3.0, 'c' || n, 'city ' || n % 100 FROM generate_series(1, 200000) n`
	work := map[string][]string{
		"insert":       {fill},
		"update":       {fill, `UPDATE orders SET qty = qty + 1`},
		"delete":       {fill, `DELETE FROM orders`},
		"transactions": {fill, `DO $$ BEGIN FOR i IN 1..200000 LOOP UPDATE orders SET qty = qty + 1 WHERE id = i; COMMIT; END LOOP; END $$`},
	}
	for name, sql := range work {
		b.Run(name, func(b *testing.B) {
			changes := 0
			var wall, cpu, served, sender time.Duration
			for b.Loop() {
				p := newPipeline(dsn).name()
				server.Exec(b, dsn, "TRUNCATE orders", "CREATE PUBLICATION "+p.config.Capture.Slot+" FOR TABLE orders")
				server.Exec(b, dsn, sql[:len(sql)-1]...)
				follow(b, p, true, &sender)
				server.Exec(b, dsn, sql[len(sql)-1])
				before, began := cpuTime(b), time.Now()
				changes += follow(b, p, false, &sender)
				wall, cpu, served = wall+time.Since(began), cpu+cpuTime(b)-before, served+sender
				server.Exec(b, dsn, "DROP PUBLICATION "+p.config.Capture.Slot, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '"+p.config.Capture.Slot+"'", "SELECT pg_sleep(0.2)", "SELECT pg_drop_replication_slot('"+p.config.Capture.Slot+"')")
			}
			if changes < rows*b.N {
				b.Fatalf("%d changes", changes)
			}
			b.ReportMetric(float64(changes)/wall.Seconds(), "changes/s")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(changes), "client-ns/change")
			b.ReportMetric(float64(served.Nanoseconds())/float64(changes), "server-ns/change")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// senderTime is the CPU time of the server's process that sends the log.
func senderTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/schedstat")
	if err != nil {
		return 0 // another system
	}
	nanos, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return time.Duration(nanos)
}

// follow reads the lane of the log, or all lanes, until nothing is left, and counts the records.
func follow(tb testing.TB, p *pipeline, all bool, sender *time.Duration) (records int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := postgres.New(p.config, sources.Host{Pipeline: "test", State: p.state})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	s.Drain()
	lanes, err := s.Lanes(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	for _, l := range lanes {
		if !all && !strings.HasPrefix(l.ID, "log@") {
			continue
		}
		*sender = 0
		pid := 0
		r, err := s.Open(ctx, l, p.positions[l.ID])
		if err != nil {
			tb.Fatal(err)
		}
		for {
			c, err := r.Read(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				tb.Fatal(err)
			}
			if pid == 0 && !all {
				pid = reader(tb, s)
			}
			*sender = max(*sender, senderTime(tb, pid))
			for _, b := range c.Batches {
				records += b.Rows
			}
			c.Release()
			p.positions[l.ID] = c.To
			if err := r.Settle(ctx, c.To, nil); err != nil {
				tb.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return records
}

// reader is the server's process that sends the log.
func reader(tb testing.TB, s *postgres.Source) int {
	tb.Helper()
	status, err := s.LogStatus(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return status.Reader
}
