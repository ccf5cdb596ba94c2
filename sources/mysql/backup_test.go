package mysql_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// TestSnapshotInParts reads tables in small parts by several sessions side by side, while rows are written: each shows the moment of the
// first, no row is missing, and none comes twice.
func TestSnapshotInParts(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE a (id int PRIMARY KEY, v int)", "INSERT INTO a SELECT seq, 1 FROM seq_1_to_2000",
		"CREATE TABLE b (k varchar(20) COLLATE utf8mb4_general_ci, n int, PRIMARY KEY (k, n))", "INSERT INTO b SELECT concat(if(seq % 2, 'Ñ', 'n'), seq % 7), seq FROM seq_1_to_1000",
		"ANALYZE TABLE a, b")
	s, err := mysql.New(mysql.Config{DSN: config.Secret(server.DSN(database)), Parallel: 4}, sources.Host{Pipeline: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	mysql.PartRows(s, 300)
	snapshot, err := s.Snapshot(t.Context(), nil)
	for tries := 0; err == nil && mysql.Readers(snapshot) < 4 && tries < 20; tries++ { // other tests write to the server's one log while sessions begin
		if err = snapshot.Close(t.Context()); err == nil {
			snapshot, err = s.Snapshot(t.Context(), nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := mysql.Readers(snapshot); n != 4 {
		t.Errorf("%d sessions read", n)
	}
	server.Exec(t, database, "DELETE FROM a WHERE id % 3 = 0", "UPDATE a SET v = 2", "INSERT INTO a SELECT seq, 1 FROM seq_3001_to_3100", "DELETE FROM b")
	seen := map[string]int{}
	var mu sync.Mutex
	var reading sync.WaitGroup
	for _, table := range snapshot.About().Tables {
		if table.Parts < 3 {
			t.Errorf("%s has %d parts", table.Schema.Stream, table.Parts)
		}
		for part := range table.Parts {
			reading.Go(func() {
				err := snapshot.Scan(t.Context(), table.Schema.Stream, part, func(b *record.Batch) error {
					mu.Lock()
					defer mu.Unlock()
					for row := range b.Rows {
						seen[b.Schema.Stream+string(b.AppendJSON(nil, row))]++
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	reading.Wait()
	if err := snapshot.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if len(seen) != 3000 {
		t.Errorf("%d rows", len(seen))
	}
	for id := range 2000 {
		if row := fmt.Sprintf(`a{"id":%d,"v":1}`, id+1); seen[row] != 1 {
			t.Fatalf("%s comes %d times", row, seen[row])
		}
	}
}

// TestSnapshotWithoutALog reads by one session where the user may not know what the log leaves out.
func TestSnapshotWithoutALog(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE a (id int PRIMARY KEY)")
	server.Exec(t, database, "CREATE USER reader_"+database+"@127.0.0.1", "GRANT SELECT ON "+database+".* TO reader_"+database+"@127.0.0.1")
	dsn := fmt.Sprintf("mysql://reader_%s@127.0.0.1:%d/%s", database, server.Port, database)
	s, err := mysql.New(mysql.Config{DSN: config.Secret(dsn), Parallel: 4}, sources.Host{Pipeline: "test"})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := s.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := mysql.Readers(snapshot); n != 1 || !snapshot.About().Consistent {
		t.Errorf("%d sessions read, %+v", n, snapshot.About())
	}
	if err := snapshot.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestLongRows restores rows that come near the longest statement that the server takes, and one that is beyond it.
func TestLongRows(t *testing.T) {
	t.Parallel()
	small, long := strings.Repeat("s", 100), strings.Repeat("'", 1900) // twice as long between quotes
	texts := []string{small, long, small, small, long, long, small}
	from := server.Database(t, "CREATE TABLE a (v text)")
	for _, text := range texts {
		server.Exec(t, from, "INSERT INTO a VALUES (\""+text+"\")")
	}
	open := func(database string) *mysql.Source {
		s, err := mysql.New(mysql.Config{DSN: config.Secret(server.DSN(database))}, sources.Host{Pipeline: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	snapshot, err := open(from).Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := snapshot.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	restore := func(packet int) (rows int, err error) {
		r, err := open(server.Database(t)).Restore(t.Context(), snapshot.About())
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, r.Close(t.Context())) }()
		mysql.Packet(r, packet)
		var kept []*record.Batch
		err = snapshot.Scan(t.Context(), "a", 0, func(b *record.Batch) error {
			b.Retain()
			kept = append(kept, b)
			return nil
		})
		if err != nil {
			return 0, err
		}
		err = r.Load(t.Context(), "a", func() (*record.Batch, error) {
			if len(kept) == 0 {
				return nil, io.EOF
			}
			b := kept[0]
			kept = kept[1:]
			return b, nil
		})
		if err != nil {
			return 0, err
		}
		return rows, r.Scan(t.Context(), "a", func(b *record.Batch) error {
			rows += b.Rows
			return nil
		})
	}
	for _, packet := range []int{4096, 8192, 1 << 20} {
		if rows, err := restore(packet); err != nil || rows != len(texts) {
			t.Errorf("with statements of %d bytes: %d rows, %v", packet, rows, err)
		}
	}
	if _, err := restore(3800); fault.Code(err) != "ACQ-MY-078" {
		t.Errorf("a row that is too long: %v", err)
	}
}
