package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
)

// reading is a table with rows, and what reads them.
type reading struct {
	dsn    string
	conn   *postgres.Conn
	layout *postgres.Layout
}

func newReading(t *testing.T, sql ...string) *reading {
	t.Helper()
	r := &reading{dsn: server.Database(t, sql...)}
	r.conn = connect(t, r.dsn)
	var err error
	if r.layout, err = postgres.NewLayout(listOne(t, r.conn, "public.t"), postgres.LayoutOptions{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// within fails a test whose step does not end soon.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	begin := time.Now()
	do()
	if took := time.Since(begin); took > limit {
		t.Errorf("%s took %v", what, took)
	}
}

const series = "CREATE TABLE t (id int4 PRIMARY KEY, body text)"

func TestStreamHandsOnEveryRow(t *testing.T) {
	t.Parallel()
	r := newReading(t, series, "INSERT INTO t SELECT i, repeat('x', i % 3000) FROM generate_series(1, 5000) i")
	var ids, bytes, leads int
	err := r.conn.Stream(t.Context(), "SELECT body, id FROM t WHERE id <= $1::int4", []string{"4000"}, func(values [][]byte) error {
		ids++
		bytes += len(values[0])
		return nil
	})
	if err != nil || ids != 4000 || bytes != 2999*3000/2+1000*1001/2 {
		t.Errorf("%d rows, %d bytes, %v", ids, bytes, err)
	}
	d := r.layout.Decoder()
	sizes, last := []int{}, ""
	full := func() error {
		b := only(t, d)
		sizes = append(sizes, b.Rows)
		if want := fmt.Sprint(b.Columns[0].Int(b.Rows - 1)); last != want {
			t.Errorf("the last lead is %s, the last row %s", last, want)
		}
		for row := range b.Rows {
			if id := b.Columns[0].Int(row); len(b.Columns[1].Text(row)) != int(id)%3000 {
				t.Errorf("row %d has %d bytes", id, len(b.Columns[1].Text(row)))
			}
		}
		b.Release()
		return nil
	}
	err = r.conn.StreamInto(t.Context(), "SELECT id::text AS lead, "+r.layout.Select()+" FROM t ORDER BY t.id", nil, d, postgres.StreamOptions{
		Lead: 1, Leads: func(v [][]byte) error { leads++; last = string(v[0]); return nil }, Rows: 1111, Full: full,
	})
	if err != nil || leads != 5000 || fmt.Sprint(sizes) != "[1111 1111 1111 1111]" || d.Count != 556 {
		t.Errorf("%d leads, batches of %v, %d left, %v", leads, sizes, d.Count, err)
	}
	// The connection serves others, and a transaction that failed is known as such.
	if _, err := r.conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	err = r.conn.Stream(t.Context(), "SELECT 1 / (id - 3) FROM t", nil, func([][]byte) error { return nil })
	if fault.Code(err) != "ACQ-PG-001" || r.conn.PgConn().TxStatus() != 'E' {
		t.Errorf("%v, transaction %c", err, r.conn.PgConn().TxStatus())
	}
	if _, err := r.conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
}

func TestBytesCloseABatch(t *testing.T) {
	t.Parallel()
	r := newReading(t, series, "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i")
	d := r.layout.Decoder()
	batches := 0
	err := r.conn.StreamInto(t.Context(), "SELECT "+r.layout.Select()+" FROM t", nil, d, postgres.StreamOptions{Bytes: 1 << 20, Full: func() error {
		if d.Bytes() > 1<<20+256<<10 {
			t.Errorf("%d bytes", d.Bytes())
		}
		only(t, d).Release()
		batches++
		return nil
	}})
	if err != nil || batches != 4 {
		t.Errorf("%d batches, %v", batches, err)
	}
}

// TestLongRows: one that no buffer holds is read, one above the limit is refused and named, and the rows behind it come.
func TestLongRows(t *testing.T) {
	t.Parallel()
	r := newReading(t, series)
	d := r.layout.Decoder()
	var refused []*gather.RowError
	sql := `SELECT i::int4, repeat('x', CASE i WHEN 2 THEN 400 * 1024 * 1024 WHEN 4 THEN 8 * 1024 * 1024 ELSE 3 END) FROM generate_series(1, 5) i`
	o := postgres.StreamOptions{Refused: func(r *gather.RowError) error { refused = append(refused, r); return nil }}
	if err := r.conn.StreamInto(t.Context(), sql, nil, d, o); err != nil {
		t.Fatal(err)
	}
	b := only(t, d)
	if b.Rows != 4 || len(b.Columns[1].Text(2)) != 8<<20 || b.Columns[0].Int(3) != 5 {
		t.Errorf("%d rows, the third of %d bytes", b.Rows, len(b.Columns[1].Text(2)))
	}
	if len(refused) != 1 || fmt.Sprint(refused[0].Key) != "[2]" {
		t.Errorf("refused %v", refused)
	}
}

// TestMemoryIsBounded reads a gigabyte of large values.
//
//nolint:paralleltest // it measures the memory of the process
func TestMemoryIsBounded(t *testing.T) {
	r := newReading(t, series)
	d := r.layout.Decoder()
	rows, most := 0, uint64(0)
	sql := "SELECT generate_series(1, 128)::int4, repeat('x', 8 * 1024 * 1024)"
	err := r.conn.StreamInto(t.Context(), sql, nil, d, postgres.StreamOptions{Bytes: 4 << 20, Full: func() error {
		b := only(t, d)
		rows += b.Rows
		b.Release()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
		return nil
	}})
	if err != nil || rows != 128 || most > 150<<20 {
		t.Errorf("%d rows, %d MiB of memory, %v", rows, most>>20, err)
	}
	t.Logf("%d MiB of memory", most>>20)
}

// TestEndOfContextEndsARead, also of a statement that sends nothing, and the server does not go on.
func TestEndOfContextEndsARead(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"while rows come":   "SELECT generate_series(1, 1000000000)::int4, 'marker'",
		"while none comes":  "SELECT 1::int4, 'marker' FROM pg_sleep(1000)",
		"while it is large": "SELECT generate_series(1, 100)::int4, repeat('marker', 30 * 1024 * 1024)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReading(t, series)
			d := r.layout.Decoder()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			var err error
			within(t, 3*time.Second, "a read whose context ended", func() {
				err = r.conn.StreamInto(ctx, sql, nil, d, postgres.StreamOptions{Rows: 1000, Full: func() error { only(t, d).Release(); return nil }})
			})
			if !errors.Is(err, context.DeadlineExceeded) || !r.conn.IsClosed() {
				t.Errorf("%v, closed: %v", err, r.conn.IsClosed())
			}
			other := connect(t, r.dsn)
			await(t, "the server ends the statement", func() bool {
				n := 1
				if err := other.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'").Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n == 0
			})
		})
	}
}

// await asks until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestErrorOfTheTakerEndsTheConnection(t *testing.T) {
	t.Parallel()
	r := newReading(t, series)
	mine := errors.New("enough")
	err := r.conn.Stream(t.Context(), "SELECT generate_series(1, 1000000000)", nil, func([][]byte) error { return mine })
	if err != mine || !r.conn.IsClosed() { //nolint:errorlint // as it is
		t.Errorf("%v, closed: %v", err, r.conn.IsClosed())
	}
}

func TestChangedTableIsNoticed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"type": "ALTER TABLE t ALTER id TYPE int8", "scale": "ALTER TABLE t ALTER n TYPE numeric(10,4)", "dropped": "ALTER TABLE t DROP body",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReading(t, "CREATE TABLE t (id int4, body text, n numeric(8,2))", "INSERT INTO t VALUES (1, 'a', 1.5)")
			server.Exec(t, r.dsn, change)
			err := r.conn.StreamInto(t.Context(), "SELECT "+r.layout.Select()+" FROM t", nil, r.layout.Decoder(), postgres.StreamOptions{})
			if fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-PG-022" && fault.Code(err) != "ACQ-PG-010" {
				t.Error(err)
			}
		})
	}
}

// proxy carries so many bytes of the server's, and then resets the connection.
func proxy(t *testing.T, bytes int64) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var carried sync.WaitGroup
	carried.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", server.Port))
			if err != nil {
				t.Error(err)
				return
			}
			carried.Go(func() { _, _ = io.Copy(back, client) })
			carried.Go(func() {
				_, _ = io.CopyN(client, back, bytes)
				_ = client.(*net.TCPConn).SetLinger(0) // a reset
				_ = client.Close()
				_ = back.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		carried.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

func TestConnectionIsLostInARow(t *testing.T) {
	t.Parallel()
	r := newReading(t, series, "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i")
	port := proxy(t, 1<<20)
	conn, err := postgres.Connect(t.Context(), postgres.Options{DSN: strings.Replace(r.dsn, fmt.Sprint(server.Port), fmt.Sprint(port), 1)})
	if err != nil {
		t.Fatal(err)
	}
	within(t, 3*time.Second, "a lost connection", func() {
		err = conn.StreamInto(t.Context(), "SELECT "+r.layout.Select()+" FROM t", nil, r.layout.Decoder(), postgres.StreamOptions{})
	})
	if fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-PG-002" || !conn.IsClosed() {
		t.Errorf("%v, closed: %v", err, conn.IsClosed())
	}
}
