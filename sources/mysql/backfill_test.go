package mysql_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// settings are those of a source of one database.
func settings(database string) mysql.Config {
	return mysql.Config{DSN: config.Secret(server.DSN(database))}
}

// keyed are tables whose keys are cut and read in ways of their own, 3,000 rows each.
var keyed = map[string][]string{
	"number":     {`CREATE TABLE k (id int PRIMARY KEY, v int)`, `INSERT INTO k SELECT seq, seq FROM seq_1_to_3000`},
	"scattered":  {`CREATE TABLE k (id bigint PRIMARY KEY, v int)`, `INSERT INTO k SELECT IF(seq % 2, -1, 1) * CAST(seq * seq * 1000000007 + seq AS signed), seq FROM seq_1_to_3000`},
	"two":        {`CREATE TABLE k (a int, b varchar(20), v int, PRIMARY KEY (a, b))`, `INSERT INTO k SELECT seq % 7, concat('k', seq), seq FROM seq_1_to_3000`},
	"text":       {`CREATE TABLE k (id varchar(40) PRIMARY KEY, v int)`, `INSERT INTO k SELECT concat(char(65 + seq % 58), ' ''\\', seq), seq FROM seq_1_to_3000`},
	"unsigned":   {`CREATE TABLE k (id bigint unsigned PRIMARY KEY, v int)`, `INSERT INTO k SELECT 18446744073709551615 - seq, seq FROM seq_1_to_3000`},
	"uuid":       {`CREATE TABLE k (id uuid PRIMARY KEY, v int)`, `INSERT INTO k SELECT uuid(), seq FROM seq_1_to_3000`},
	"bytes":      {`CREATE TABLE k (id binary(16) PRIMARY KEY, v int)`, `INSERT INTO k SELECT unhex(md5(seq)), seq FROM seq_1_to_3000`},
	"enum":       {`CREATE TABLE k (e enum('z','a','m'), id int, v int, PRIMARY KEY (e, id))`, `INSERT INTO k SELECT seq % 3 + 1, seq, seq FROM seq_1_to_3000`},
	"set":        {`CREATE TABLE k (e set('z','a','m'), id int, v int, PRIMARY KEY (e, id))`, `INSERT INTO k SELECT seq % 8, seq, seq FROM seq_1_to_3000`},
	"decimal":    {`CREATE TABLE k (id decimal(30,5) PRIMARY KEY, v int)`, `INSERT INTO k SELECT seq / 7 - 100, seq FROM seq_1_to_3000`},
	"float":      {`CREATE TABLE k (id float PRIMARY KEY, v int)`, `INSERT INTO k SELECT seq / 10, seq FROM seq_1_to_3000`},
	"moment":     {`CREATE TABLE k (id timestamp(6) PRIMARY KEY, v int)`, `INSERT INTO k SELECT '2024-01-01 00:00:00.000001' + INTERVAL seq SECOND, seq FROM seq_1_to_3000`},
	"duration":   {`CREATE TABLE k (id time(3) PRIMARY KEY, v int)`, `INSERT INTO k SELECT sec_to_time(seq * 37 - 60000.5), seq FROM seq_1_to_3000`},
	"bits":       {`CREATE TABLE k (id bit(64) PRIMARY KEY, v int)`, `INSERT INTO k SELECT 18446744073709551615 - seq, seq FROM seq_1_to_3000`},
	"unique":     {`CREATE TABLE k (v int, id int NOT NULL UNIQUE)`, `INSERT INTO k SELECT seq, seq FROM seq_1_to_3000`},
	"odd ` name": {"CREATE TABLE `k` (`a ``b'\"` int PRIMARY KEY, v int)", "INSERT INTO k SELECT seq, seq FROM seq_1_to_3000"},
}

// values gives what v was in the rows of a stream, sorted.
func values(t *testing.T, rows []string) []int {
	t.Helper()
	var all []int
	for _, row := range rows {
		var one struct{ V int }
		if err := json.Unmarshal([]byte(row), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one.V)
	}
	slices.Sort(all)
	return all
}

// Every kind of key is cut into parts, each of which is cut off after every chunk and goes on in another process; each row comes once, and the
// ranges that verify asks for have each row once, too.
func TestEveryKindOfKey(t *testing.T) {
	t.Parallel()
	for name, sql := range keyed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := server.Database(t, append(slices.Clone(sql), "ANALYZE TABLE k")...)
			state := newNotes()
			var r *reads
			var parts int
			for {
				s := open(t, settings(database), state)
				mysql.PartRows(s, 700)
				mysql.Sizes(s, 333, 1000)
				s.Backfill(nil, 0)
				if r == nil {
					r = newReads(s)
				}
				r.source, r.most = s, 1
				lanes, err := s.Lanes(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				parts = len(lanes)
				if strings.HasSuffix(lanes[parts-1].ID, "/complete") {
					parts--
				}
				went := false
				for _, l := range lanes[:parts] {
					if !r.ended[l.ID] && r.failed[l.ID] == nil {
						went = true
						r.lane(t, l)
					}
				}
				if !went {
					break
				}
			}
			if f := r.failures(); f != "" {
				t.Fatal(f)
			}
			if parts < 3 || parts > 9 {
				t.Errorf("%d parts", parts)
			}
			wholes(t, values(t, r.rows["k"]))
			split(t, r.source)
		})
	}
}

// wholes wants 1 to 3000, each once.
func wholes(t *testing.T, all []int) {
	t.Helper()
	if len(all) != 3000 || all[0] != 1 || all[2999] != 3000 || len(slices.Compact(all)) != 3000 {
		t.Errorf("%d rows, %d different", len(all), len(slices.Compact(all)))
	}
}

// split reads a table by the ranges of verify, and looks some of its rows up.
func split(t *testing.T, s *mysql.Source) {
	t.Helper()
	ranges, err := s.Split(t.Context(), "k", 500)
	if err != nil {
		t.Fatal(err)
	}
	var rows, found []string
	var keys *record.Batch
	for _, one := range ranges {
		err := s.Scan(t.Context(), "k", sources.KeyRange{After: one.After, UpTo: one.UpTo}, func(b *record.Batch) error {
			for row := range b.Rows {
				rows = append(rows, string(b.AppendJSON(nil, row)))
			}
			if keys == nil {
				keys = keysOf(t, b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wholes(t, values(t, rows))
	err = s.Lookup(t.Context(), "k", keys, func(b *record.Batch) error {
		for row := range b.Rows {
			found = append(found, string(b.AppendJSON(nil, row)))
		}
		return nil
	})
	slices.Sort(found)
	if len(slices.Compact(found)) != keys.Rows || err != nil {
		t.Errorf("%d of %d keys were found: %v", len(found), keys.Rows, err)
	}
}

// keysOf gives the keys of a batch.
func keysOf(t *testing.T, b *record.Batch) *record.Batch {
	t.Helper()
	var fields []record.Field
	var columns []record.Column
	for _, k := range b.Schema.Key {
		fields, columns = append(fields, b.Schema.Fields[k]), append(columns, b.Columns[k])
	}
	s, err := record.NewSchema("k", b.Schema.KeyNames(), fields...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := record.NewBatch(s, b.Rows, columns, record.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]int32, out.Rows)
	for i := range rows {
		rows[i] = int32(i)
	}
	return out.Select(rows) // a copy: the batch is the source's
}

// What is altered between two parts of a table.
func TestTablesChangeBetweenParts(t *testing.T) {
	t.Parallel()
	pair := []string{
		`CREATE TABLE pair (id int PRIMARY KEY, a int, b varchar(20))`, `INSERT INTO pair SELECT seq, seq * 2, concat('b', seq) FROM seq_1_to_2000`,
		`CREATE TABLE other (id int PRIMARY KEY)`, `INSERT INTO other SELECT seq FROM seq_1_to_2000`, `ANALYZE TABLE pair, other`,
	}
	for name, c := range map[string]struct{ sql, last, fails string }{
		"added in place": {sql: `ALTER TABLE pair ADD c varchar(9) DEFAULT 'new', ALGORITHM = INSTANT`, last: `{"id":2000,"a":4000,"b":"b2000","c":"new"}`},
		"written anew":   {sql: `ALTER TABLE pair MODIFY a bigint`, last: `{"id":2000,"a":4000,"b":"b2000"}`},
		"dropped":        {sql: `ALTER TABLE pair DROP a`, last: `{"id":2000,"a":null,"b":"b2000"}`},
		"another type":   {sql: `ALTER TABLE pair MODIFY a varchar(20)`, fails: "ACQ-MY-023"},
		"another key":    {sql: `ALTER TABLE pair DROP PRIMARY KEY, ADD PRIMARY KEY (id, a)`, fails: "ACQ-MY-024"},
		"truncated":      {sql: `TRUNCATE pair`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := server.Database(t, pair...)
			s := open(t, settings(database), newNotes())
			mysql.PartRows(s, 700)
			r := newReads(s)
			lanes, err := s.Lanes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range lanes {
				if strings.HasSuffix(l.ID, "/0") {
					r.lane(t, l)
				}
			}
			server.Exec(t, database, c.sql)
			mysql.Stale(s)
			r.all(t)
			if len(r.rows["other"]) != 2000 {
				t.Errorf("%d rows of the other table", len(r.rows["other"]))
			}
			rows := r.rows["pair"]
			switch {
			case c.fails != "":
				if f := r.failures(); !strings.Contains(f, c.fails) || !strings.Contains(f, "pair@") || strings.Contains(f, "other@") {
					t.Error(f)
				}
			case r.failures() != "":
				t.Error(r.failures())
			case name == "truncated":
				if r.truncated["pair"].Epoch != 2 {
					t.Error(r.truncated)
				}
			case len(rows) < 2000 || rows[len(rows)-1] != c.last:
				t.Error(len(rows), rows[len(rows)-1])
			}
		})
	}
}

// A value that its column cannot hold is a dead letter that names stream, key and column, where the settings say so.
func TestUnfitValues(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "SET sql_mode = ''", "CREATE TABLE odd (id int PRIMARY KEY, day date)",
		"INSERT INTO odd VALUES (1, '2024-01-01'), (2, '0000-00-00'), (3, '2024-01-03')")
	for _, unfit := range []string{"text", "error"} {
		c := settings(database)
		c.Unfit = unfit
		s := open(t, c, newNotes())
		s.Backfill(nil, 0)
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reader, err := s.Open(t.Context(), lanes[0], "")
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := reader.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := chunk.Batches[0]
		if unfit == "text" {
			if got := string(b.AppendJSON(nil, 1)); got != `{"id":2,"day":null,"day__raw":"0000-00-00"}` {
				t.Error(got)
			}
		} else if got := fmt.Sprint(b.Rows, chunk.Refused[0].Err, string(chunk.Refused[0].Raw)); !strings.Contains(got, "ACQ-MY-021: odd, key 2") ||
			!strings.HasPrefix(got, "2") || !strings.Contains(got, `{"id":"2","day":"0000-00-00"}`) || chunk.Refused[0].Column != "day" {
			t.Error(got)
		}
		chunk.Release()
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
}
