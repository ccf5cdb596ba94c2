package mysql_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// ids gives the events of a chunk.
func ids(c record.Chunk) (all []string) {
	for _, b := range c.Batches {
		for row := range b.Rows {
			all = append(all, fmt.Sprintf("%s %s %s %s", b.Schema.Stream, b.System.EventIDs.Text(row), b.System.Op(row), b.System.Versions.At(row)))
		}
	}
	return all
}

// A transaction is cut into chunks, and read on from behind each of them: no row of it comes twice, and none is left out.
func TestLogGoesOnWithinATransaction(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE a (id int PRIMARY KEY, n int)", "CREATE TABLE b (id int PRIMARY KEY, n int)",
		"INSERT INTO a SELECT seq, 0 FROM seq_1_to_40", "INSERT INTO b SELECT seq, 0 FROM seq_1_to_40")
	p := follow(database)
	p.run(t, 0)
	s := open(t, p.config, p.state)
	mysql.Sizes(s, 7, 1000)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := lanes[len(lanes)-1]
	server.Exec(t, database, "BEGIN", "UPDATE a SET n = 1", "UPDATE b SET n = 1 WHERE id < 30", "UPDATE a SET id = id + 100 WHERE id > 30", "DELETE FROM b WHERE id = 7", "COMMIT")
	const rows = 40 + 29 + 2*10 + 1
	read := func(each bool) (got []string) {
		at := p.at[log.ID]
		for len(got) < rows {
			r, err := s.Open(t.Context(), log, at)
			if err != nil {
				t.Fatal(err)
			}
			for len(got) < rows {
				c, err := r.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				more := ids(c)
				got, at = append(got, more...), c.To
				c.Release()
				if each && len(more) > 0 {
					break
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return got
	}
	whole, parts := read(false), read(true)
	if !slices.Equal(whole, parts) {
		t.Errorf("in one go\n%q\nfrom behind each chunk\n%q", whole, parts)
	}
	slices.Sort(parts)
	if distinct := len(slices.Compact(parts)); distinct != rows {
		t.Errorf("%d events, want %d", distinct, rows)
	}
}

// A table joins while a transaction that changes it is in the log, which the reader has passed, and not visible yet: it waits for the replica
// that semi-synchronous replication has and the server has not. The table is not read before it is.
func TestTableJoinsBeforeACommitIsVisible(t *testing.T) {
	t.Parallel()
	own, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	database := own.Database(t, "CREATE TABLE orders (id int PRIMARY KEY)")
	p := follow(database)
	p.config.DSN = config.Secret(own.DSN(database))
	p.run(t, 0)
	s := open(t, p.config, p.state)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own.Exec(t, database, "CREATE TABLE late (id int PRIMARY KEY)", "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
		"SET GLOBAL rpl_semi_sync_master_timeout = 4000", "SET GLOBAL rpl_semi_sync_master_enabled = ON")
	log := lanes[len(lanes)-1]
	r, err := s.Open(t.Context(), log, p.at[log.ID])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := own.Connect(database)
	if err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	go func() {
		var errs []error
		for _, sql := range []string{"BEGIN", "INSERT INTO late VALUES (1)", "INSERT INTO orders VALUES (1)", "COMMIT"} {
			_, err := conn.Execute(sql)
			errs = append(errs, err)
		}
		committed <- errors.Join(append(errs, conn.Quit())...)
	}()
	for n := 0; n == 0; { // the reader is in the transaction
		c, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n = len(ids(c))
		p.image.take(c)
	}
	mysql.Stale(s)
	if lanes, err = s.Lanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(lanes, func(l sources.Lane) bool { return l.ID == "late@1/0" })
	if i < 0 {
		t.Fatalf("the lanes are %v", lanes)
	}
	p.lane(t, s, lanes[i], 0)
	if err := errors.Join(<-committed, r.Close()); err != nil {
		t.Fatal(err)
	}
	if got := p.image.of("late"); len(got) != 1 {
		t.Errorf("the table was read as %q, and the log has passed the rest", got)
	}
}
