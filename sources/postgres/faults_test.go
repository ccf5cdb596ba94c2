package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// manyRows is more than the buffers between server and reader hold.
const manyRows = 200_000

var manySQL = []string{
	`create table many (id int primary key, filler text)`,
	fmt.Sprintf(`insert into many select i, repeat('x', 100) from generate_series(1, %d) i`, manyRows), `analyze`,
}

// interrupted reads the first chunk of a table, lets do happen, and reads on until the reader fails or the lane ends. Then it goes on
// where it stood, as the engine does. It gives what the reader failed with.
func interrupted(t *testing.T, s *postgres.Source, do func()) error {
	t.Helper()
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lane := lanes[0]
	var failed error
	seen, at := map[int64]bool{}, record.Position("")
	for done := false; !done; {
		reader, err := s.Open(t.Context(), lane, at)
		if err != nil {
			t.Fatal(err)
		}
		for {
			chunk, err := reader.Read(t.Context())
			if errors.Is(err, io.EOF) {
				done = true
				break
			}
			if err != nil {
				if failed != nil {
					t.Fatal(failed, err)
				}
				failed = err
				break
			}
			for _, b := range chunk.Batches {
				for row := range b.Rows {
					id := b.Columns[0].Int(row)
					if seen[id] {
						t.Fatalf("row %d comes twice", id)
					}
					seen[id] = true
				}
			}
			at = chunk.To
			chunk.Release()
			if do != nil {
				do()
				do = nil
			}
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != manyRows {
		t.Errorf("%d rows of %d", len(seen), manyRows)
	}
	return failed
}

// retried wants a failure that is tried again, with a code.
func retried(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || fault.Of(err) != fault.Retryable || fault.Code(err) == "" || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, class %v, code %q", err, fault.Of(err), fault.Code(err))
	}
}

func execAs(t *testing.T, dsn, sql string, args ...any) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	if _, err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestABackendThatEndsIsReplaced(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"pg_terminate_backend", "pg_cancel_backend"} {
		dsn := server.Database(t, manySQL...)
		s := open(t, postgres.Config{DSN: config.Secret(dsn)}, newNotes())
		err := interrupted(t, s, func() {
			execAs(t, dsn, "select "+how+"(pid) from pg_stat_activity where datname = current_database() and application_name like 'acequia%' and state = 'active'")
		})
		retried(t, err, "")
	}
}

func TestAServerThatRestarts(t *testing.T) {
	t.Parallel()
	own, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} { // as an administrator ends it, and as a crash
		dsn := own.Database(t, manySQL...)
		s := open(t, postgres.Config{DSN: config.Secret(dsn)}, newNotes())
		failed := interrupted(t, s, func() {
			if err := own.Stop(signal); err != nil {
				t.Fatal(err)
			}
			if err := own.Run(); err != nil {
				t.Fatal(err)
			}
		})
		retried(t, failed, "")
	}
}

// cutting is a way to a server that resets each connection after it has carried so many bytes.
func cutting(t *testing.T, port, bytes int) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for n := 0; ; n++ {
			client, err := l.Accept()
			if err != nil {
				return
			}
			target, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				_ = client.Close()
				continue
			}
			limit := int64(1 << 40)
			if n == 0 { // it lists the tables and reads on
				limit = int64(bytes)
			}
			all.Go(func() {
				_, _ = io.Copy(target, client)
				_ = target.Close()
			})
			all.Go(func() {
				_, _ = io.CopyN(client, target, limit)
				_ = client.(*net.TCPConn).SetLinger(0) // a reset, and no orderly end
				_ = client.Close()
				_ = target.Close()
			})
		}
	})
	return l.Addr().String()
}

func TestAConnectionThatIsResetInARow(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, manySQL...)
	database := dsn[strings.LastIndexByte(dsn, '/')+1:]
	for _, bytes := range []int{200_000, 1_234_567, 9_000_001} {
		address := cutting(t, server.Port, bytes)
		s := open(t, postgres.Config{DSN: config.Secret("postgres://postgres@" + address + "/" + database)}, newNotes())
		retried(t, interrupted(t, s, nil), "")
	}
}

func TestALockSaysWhoHoldsIt(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, manySQL...)
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, newNotes())
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	holder, err := pgx.Connect(t.Context(), dsn+"&application_name=migration")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close(context.WithoutCancel(t.Context())) }()
	if _, err := holder.Exec(t.Context(), "begin; lock table many in access exclusive mode"); err != nil {
		t.Fatal(err)
	}
	reader, err := s.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = reader.Read(t.Context())
	retried(t, err, "held by process")
	if err == nil || !strings.Contains(err.Error(), "migration") {
		t.Error(err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

func TestLoginsAndRights(t *testing.T) {
	t.Parallel()
	own, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	dsn := own.Database(t, `create table seen (i int primary key)`, `create table "Hid den" (i int primary key)`, `create schema shut`, `create table shut.t (i int)`,
		`create role reader login password 'right'`, `grant select on seen to reader`)
	hba := "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(own.Data, "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	own.Exec(t, dsn, "select pg_reload_conf()")
	as := func(password string, tables ...string) *postgres.Source {
		return open(t, postgres.Config{DSN: config.Secret(strings.Replace(dsn, "postgres@", "reader:"+password+"@", 1)), Tables: tables}, newNotes())
	}
	_, err = as("wr0ng-secret").Lanes(t.Context())
	if fault.Of(err) != fault.Fatal || fault.Code(err) != "ACQ-PG-003" || strings.Contains(err.Error(), "wr0ng-secret") {
		t.Error(err)
	}
	r := newReads(as("right"))
	r.all(t)
	if len(r.ended) != 1 || r.failures() != "" {
		t.Error(r.ended, r.failures())
	}
	_, err = as("right", "public.Hid*", "shut.*").Lanes(t.Context())
	for _, want := range []string{`GRANT SELECT ON "public"."Hid den" TO "reader"`, `GRANT USAGE ON SCHEMA "shut" TO "reader"`} {
		if fault.Code(err) != "ACQ-PG-005" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	both := as("right")
	if _, err := both.Lanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	own.Exec(t, dsn, `revoke select on seen from reader`)
	lost := newReads(both)
	postgres.Stale(both)
	lanes, err := both.Lanes(t.Context())
	if err == nil { // no table is left to read
		t.Error(lanes)
	}
	own.Exec(t, dsn, `grant select on "Hid den" to reader`)
	postgres.Stale(both)
	lost.all(t)
	if f := lost.failures(); !strings.Contains(f, "seen@1/stopped") || !strings.Contains(f, "grant") || len(lost.ended) == 0 {
		t.Error(f, lost.ended)
	}
}

// widest is as many columns as a table may have.
const widest = 1600

func TestWideAndLongRows(t *testing.T) {
	t.Parallel()
	columns := make([]string, widest)
	for i := range columns {
		columns[i] = fmt.Sprintf("c%d int", i)
	}
	columns[0] += " primary key"
	dsn := server.Database(t, "create table wide ("+strings.Join(columns, ", ")+")", "insert into wide (c0, c1599) select i, -i from generate_series(1, 3000) i",
		`create table long (id int primary key, v text)`, `insert into long select i, repeat('0123456789abcdef', 1024 * 1024) from generate_series(1, 16) i`,
		`create table huge (id int primary key, v text)`, `insert into huge values (1, 'a'), (2, repeat('x', 400 * 1024 * 1024)), (3, 'c')`)
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, newNotes())
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, largest, refused := map[string]int{}, 0, []record.Refused{}
	for _, l := range lanes {
		if l.Endless {
			continue
		}
		reader, err := s.Open(t.Context(), l, "")
		if err != nil {
			t.Fatal(err)
		}
		for {
			chunk, err := reader.Read(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(l.ID, err)
			}
			size := 0
			for _, b := range chunk.Batches {
				rows[b.Schema.Stream] += b.Rows
				size += b.Size()
			}
			largest = max(largest, size)
			refused = append(refused, chunk.Refused...)
			chunk.Release()
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
	if rows["wide"] != 3000 || rows["long"] != 16 || rows["huge"] != 2 {
		t.Error(rows)
	}
	if largest > 96<<20 {
		t.Errorf("a chunk of %d MiB", largest>>20)
	}
	if len(refused) != 1 || fault.Of(refused[0].Err) != fault.Poison || !strings.Contains(refused[0].Err.Error(), "key 2") {
		t.Error(refused)
	}
}

// A copy of the files, or a standby that took over, has other numbers of transactions: whatever was followed is read anew.
func TestAnotherServerIsSeen(t *testing.T) {
	t.Parallel()
	sql := []string{`create table kept (id int primary key)`, `insert into kept values (1)`}
	state := newNotes()
	before := newReads(open(t, postgres.Config{DSN: config.Secret(server.Database(t, sql...))}, state))
	before.all(t)
	own, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	dsn := own.Database(t, `create table filler (id int)`, `drop table filler`, sql[0], `insert into kept values (2)`)
	after := newReads(open(t, postgres.Config{DSN: config.Secret(dsn)}, state))
	after.ended = before.ended
	after.all(t)
	if after.sorted("kept") != `{"id":2}` || after.truncated["kept"].Epoch != 2 || after.failures() != "" {
		t.Error(after.rows, after.truncated, after.failures())
	}
}

func TestAServerThatWentBackIsSeen(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `create table kept (id int primary key)`, `insert into kept values (1)`)
	state := newNotes()
	before := newReads(open(t, postgres.Config{DSN: config.Secret(dsn)}, state))
	before.all(t)
	state.mu.Lock()
	state.kept["server"] = []byte(strings.Replace(string(state.kept["server"]), `"lsn":`, `"lsn":9`, 1)) // as if it had been far ahead
	state.mu.Unlock()
	after := newReads(open(t, postgres.Config{DSN: config.Secret(dsn)}, state))
	after.ended = before.ended
	after.all(t)
	if after.sorted("kept") != `{"id":1}` || after.truncated["kept"].Epoch != 2 {
		t.Error(after.rows, after.truncated)
	}
	quiet := open(t, postgres.Config{DSN: config.Secret(dsn)}, state)
	lanes, err := quiet.Lanes(t.Context())
	if err != nil || !slices.ContainsFunc(lanes, func(l sources.Lane) bool { return l.ID == "kept@2/0" }) {
		t.Error("it is read anew once: ", lanes, err)
	}
}

// Who drops a table waits until the rows that are being read have come, and the lane ends in order.
func TestATableThatIsDroppedWhileItIsRead(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, manySQL...)
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, newNotes())
	dropped := make(chan error, 1)
	ctx := t.Context()
	failed := interrupted(t, s, func() {
		go func() {
			c, err := pgx.Connect(ctx, dsn)
			if err == nil {
				_, err = c.Exec(ctx, "drop table many")
				err = errors.Join(err, c.Close(ctx))
			}
			dropped <- err
		}()
		until(t, dsn, "select count(*) = 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like 'drop table%'")
	})
	if err := errors.Join(failed, <-dropped); err != nil {
		t.Error(err)
	}
	postgres.Stale(s)
	r := newReads(s)
	r.all(t)
	if len(r.rows["many"]) != 0 || r.failures() != "" {
		t.Error(len(r.rows["many"]), r.failures())
	}
}

// A copy of the server's files has its tables under the same numbers: only its identity, or its timeline, tells.
func TestACopyOfTheServerIsSeen(t *testing.T) {
	t.Parallel()
	for _, was := range []struct{ is, was string }{{`"system":"`, `"system":"9`}, {`"timeline":1`, `"timeline":2`}} {
		dsn := server.Database(t, `create table kept (id int primary key)`, `insert into kept values (1)`)
		state := newNotes()
		before := newReads(open(t, postgres.Config{DSN: config.Secret(dsn)}, state))
		before.all(t)
		state.mu.Lock()
		note := string(state.kept["table kept"])
		state.kept["table kept"] = []byte(strings.Replace(note, was.is, was.was, 1))
		state.mu.Unlock()
		if !strings.Contains(note, was.is) {
			t.Fatal(note)
		}
		after := newReads(open(t, postgres.Config{DSN: config.Secret(dsn)}, state))
		after.ended = before.ended
		after.all(t)
		if after.sorted("kept") != `{"id":1}` || after.truncated["kept"].Epoch != 2 || after.failures() != "" {
			t.Error(was, after.rows, after.truncated, after.failures())
		}
	}
}
