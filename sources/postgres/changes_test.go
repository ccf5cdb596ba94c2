package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// afterFirst reads the first part of a table of two, runs SQL, and reads on with the same source or a fresh one.
func afterFirst(t *testing.T, dsn string, restart bool, sql ...string) (*reads, *postgres.Source) {
	t.Helper()
	state := newNotes()
	c := postgres.Config{DSN: config.Secret(dsn)}
	s := open(t, c, state)
	postgres.PartRows(s, 1000)
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
	server.Exec(t, dsn, sql...)
	if restart {
		s = open(t, c, state)
		postgres.PartRows(s, 1000)
		r.source = s
	} else {
		postgres.Stale(s) // the catalog is asked at the next look, as it would be some seconds later
	}
	r.all(t)
	return r, s
}

// pair makes a table of two parts, and another beside it.
func pair(more ...string) []string {
	return append([]string{
		`create table pair (id int primary key, a int, b text)`, `insert into pair select i, i * 2, 'b' || i from generate_series(1, 2000) i`,
		`create table other (id int primary key)`, `insert into other select generate_series(1, 2000)`, `analyze`,
	}, more...)
}

func fieldNames(s *record.Schema) string {
	var names []string
	for _, f := range s.Fields {
		names = append(names, f.Name+" "+f.TypeName())
	}
	return strings.Join(names, ", ")
}

func TestColumnsChangeBetweenParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, fields, last string }{
		"added":   {`alter table pair add c text default 'new'`, "id int32, a int32, b string, c string", `{"id":2000,"a":4000,"b":"b2000","c":"new"}`},
		"dropped": {`alter table pair drop a`, "id int32, a int32, b string", `{"id":2000,"a":null,"b":"b2000"}`},
		"renamed": {`alter table pair rename a to z`, "id int32, a int32, b string, z int32", `{"id":2000,"a":null,"b":"b2000","z":4000}`},
		"widened": {`alter table pair alter a type bigint`, "id int32, a int64, b string", `{"id":2000,"a":4000,"b":"b2000"}`},
		"moved":   {`alter table pair drop b, add b text default 'x'`, "id int32, a int32, b string", `{"id":2000,"a":4000,"b":"x"}`},
		"not null": {
			`alter table pair alter a set not null`, "id int32, a int32, b string", `{"id":2000,"a":4000,"b":"b2000"}`,
		},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", restart), func(t *testing.T) {
				t.Parallel()
				r, _ := afterFirst(t, server.Database(t, pair()...), restart, c.sql)
				if f := r.failures(); f != "" {
					t.Fatal(f)
				}
				rows := r.rows["pair"]
				if len(rows) != 2000 || rows[len(rows)-1] != c.last {
					t.Error(len(rows), rows[len(rows)-1])
				}
				if got := fieldNames(r.schemas["pair"]); got != c.fields {
					t.Error(got)
				}
				if len(r.rows["other"]) != 2000 {
					t.Error(len(r.rows["other"]))
				}
			})
		}
	}
}

func TestWhatCannotBeTakenInStopsOneTable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, says string }{
		"another type":    {`alter table pair alter a type text using a::text`, "a"},
		"another key":     {`alter table pair drop constraint pair_pkey, add primary key (id, a)`, "key"},
		"no key any more": {`alter table pair drop constraint pair_pkey`, "key"},
		"no columns":      {`alter table pair drop id, drop a, drop b`, "columns"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := afterFirst(t, server.Database(t, pair()...), false, c.sql)
			if f := r.failures(); !strings.Contains(f, "pair@1/stopped") || !strings.Contains(f, c.says) || strings.Contains(f, "other@") {
				t.Error(f)
			}
			for _, err := range r.failed {
				if fault.Of(err) != fault.Fatal || fault.Code(err) == "" || !strings.Contains(err.Error(), "(") {
					t.Errorf("no code, or no remedy: %v", err)
				}
			}
			if len(r.rows["other"]) != 2000 || len(r.rows["pair"]) >= 2000 {
				t.Error(len(r.rows["other"]), len(r.rows["pair"]))
			}
		})
	}
}

func TestTablesComeAndGo(t *testing.T) {
	t.Parallel()
	t.Run("added", func(t *testing.T) {
		t.Parallel()
		r, _ := afterFirst(t, server.Database(t, pair()...), false, `create table late (id int primary key)`, `insert into late values (7)`)
		if r.sorted("late") != `{"id":7}` || r.failures() != "" {
			t.Error(r.rows["late"], r.failures())
		}
	})
	for name, sql := range map[string]string{"dropped": "drop table pair", "renamed": "alter table pair rename to moved"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := afterFirst(t, server.Database(t, pair()...), false, sql)
			if n := len(r.rows["pair"]); n == 0 || n >= 2000 || r.failures() != "" || len(r.rows["other"]) != 2000 {
				t.Error(n, r.failures())
			}
			if n := len(r.rows["moved"]); name == "renamed" && n != 2000 {
				t.Error(n)
			}
		})
	}
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("made again ", restart), func(t *testing.T) {
			t.Parallel()
			r, _ := afterFirst(t, server.Database(t, pair()...), restart, `drop table pair`, `create table pair (id int primary key, a int, b text)`,
				`insert into pair values (1, 2, 'x')`)
			rows := r.rows["pair"]
			if len(rows) == 0 || rows[len(rows)-1] != `{"id":1,"a":2,"b":"x"}` || r.truncated["pair"].Epoch != 2 || r.failures() != "" {
				t.Error(len(rows), r.truncated, r.failures())
			}
		})
	}
}

// A part that found no table has ended, and yet not all was read: it must not be taken for read when the table is there again.
func TestATableThatWasAwayIsReadAnew(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, pair()...)
	state := newNotes()
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, state)
	postgres.PartRows(s, 1000)
	r := newReads(s)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `alter table pair rename to away`)
	for _, l := range lanes {
		if l.ID == "pair@1/0" {
			r.lane(t, l)
		}
	}
	server.Exec(t, dsn, `alter table away rename to pair`)
	if !r.ended["pair@1/0"] {
		t.Fatal(r.failures())
	}
	for _, next := range []*postgres.Source{s, open(t, postgres.Config{DSN: config.Secret(dsn)}, state)} {
		r := newReads(next)
		r.ended["pair@1/0"] = true
		r.all(t)
		if n := len(r.rows["pair"]); n != 2000 || r.failures() != "" {
			t.Error(n, r.failures())
		}
	}
}

func TestValuesThatTheirColumnsCannotHold(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `create table odd (id int primary key, at timestamptz, n numeric(5,2))`,
		`insert into odd select i, '2026-01-01', 1 from generate_series(1, 25000) i`,
		`update odd set at = 'infinity' where id = 12000`, `update odd set n = 'NaN' where id = 24000`, `analyze`)
	state := newNotes()
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, state)
	r := newReads(s)
	r.most = 2 // of three chunks: it stops in the middle, with the first odd value read
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.lane(t, lanes[0])
	if got := fieldNames(r.schemas["odd"]); got != "id int32, at timestamp, n decimal(5,2), at__raw string" {
		t.Error(got)
	}
	next := open(t, postgres.Config{DSN: config.Secret(dsn)}, state)
	described, err := next.Lanes(t.Context())
	if err != nil || len(described) == 0 {
		t.Fatal(err)
	}
	r.source, r.most = next, 0
	r.all(t)
	if got := fieldNames(r.schemas["odd"]); got != "id int32, at timestamp, n decimal(5,2), at__raw string, n__raw string" {
		t.Error(got)
	}
	rows := slices.Compact(slices.Sorted(slices.Values(r.rows["odd"])))
	odd := 0
	for _, row := range rows {
		if strings.Contains(row, `"at__raw":"infinity"`) || strings.Contains(row, `"n__raw":"NaN"`) {
			odd++
		}
	}
	if len(r.rows["odd"]) != 25000 || odd != 2 || r.failures() != "" {
		t.Error(len(r.rows["odd"]), odd, r.failures())
	}
	report, err := next.Report(t.Context())
	if err != nil || len(report.Streams) != 1 || fmt.Sprint(report.Streams[0].Unfit) != "map[n__raw:1]" { // the other was the first source's
		t.Errorf("%+v, %v", report.Streams, err)
	}
}

// Rows of the heap that VACUUM FULL moves between two parts would be read twice or never.
func TestRowsThatMoveAreReadAnew(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{"vacuum full heap", "cluster heap using heap_pkey", "truncate heap"} {
		dsn := server.Database(t, `create table heap (id uuid primary key, n int)`,
			`insert into heap select md5(i::text)::uuid, i from generate_series(1, 20000) i`, `delete from heap where n % 4 = 0`, `analyze`)
		state := newNotes()
		s := open(t, postgres.Config{DSN: config.Secret(dsn)}, state)
		postgres.PartRows(s, 5000)
		r := newReads(s)
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(lanes) < 3 {
			t.Fatal(lanes)
		}
		r.lane(t, lanes[0])
		server.Exec(t, dsn, sql)
		postgres.Stale(s)
		first := len(r.rows["heap"])
		r.all(t)
		want := map[bool]int{true: 0, false: 15000}[strings.HasPrefix(sql, "truncate")]
		if got := len(r.rows["heap"]) - first; got != want || r.truncated["heap"].Epoch != 2 || r.failures() != "" {
			t.Errorf("%s: %d rows, then %d: %s", sql, first, got, r.failures())
		}
	}
}

func TestSnapshotsWithoutAKey(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `create table loose (v int)`, `insert into loose select i % 7 from generate_series(1, 25000) i`,
		`create view seen as select v + 1 as w from loose where v = 3`, `create materialized view kept as select count(*) as n from loose`)
	state := newNotes()
	s := open(t, postgres.Config{DSN: config.Secret(dsn)}, state)
	r := newReads(s)
	versions := map[record.Version]bool{}
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lanes {
		if l.ID != "loose@1/snapshot" {
			continue
		}
		reader, err := s.Open(t.Context(), l, "")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			chunk, err := reader.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range chunk.Batches {
				for row := range b.Rows {
					versions[b.System.Versions.At(row)] = true
				}
			}
			r.at[l.ID] = chunk.To
			chunk.Release()
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(versions) != 25000 {
		t.Errorf("%d versions for 25,000 rows", len(versions))
	}
	r.all(t) // it was cut off: it begins again
	if n := len(r.rows["loose"]); n != 25000 || r.truncated["loose"].Epoch != 2 || r.failures() != "" {
		t.Error(n, r.truncated, r.failures())
	}
	if len(r.rows["seen"]) != 3572 || r.sorted("kept") != `{"n":25000}` || r.truncated["kept"].Epoch != 1 {
		t.Error(len(r.rows["seen"]), r.sorted("kept"), r.truncated)
	}
	server.Exec(t, dsn, `insert into loose values (8)`)
	again := newReads(open(t, postgres.Config{DSN: config.Secret(dsn), Capture: postgres.Capture{Snapshot: 1}}, state))
	again.ended, again.most = r.ended, 0
	lanes, err = again.source.Lanes(t.Context())
	if err != nil || !slices.ContainsFunc(lanes, func(l sources.Lane) bool { return l.ID == "loose@3/snapshot" }) {
		t.Error("no snapshot though it is due: ", lanes, err)
	}
}

// Each row is read once, of the table that has it.
func TestInheritedTables(t *testing.T) {
	t.Parallel()
	r := newReads(open(t, postgres.Config{DSN: config.Secret(server.Database(t,
		`create table parent (id int primary key)`, `create table child (primary key (id)) inherits (parent)`,
		`insert into parent values (1)`, `insert into child values (1), (2)`))}, newNotes()))
	r.all(t)
	if r.sorted("parent") != `{"id":1}` || r.sorted("child") != "{\"id\":1}\n{\"id\":2}" || r.failures() != "" {
		t.Error(r.rows, r.failures())
	}
}

// A value that is refused, where the settings ask for that, is a dead letter: of a backfill and of a poll alike.
func TestUnfitValuesAreDeadLetters(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `create table odd (id int primary key, at timestamptz)`,
		`insert into odd select i, case when i % 1000 = 0 then 'infinity' else now() end from generate_series(1, 25000) i`, `analyze`)
	s := open(t, postgres.Config{DSN: config.Secret(dsn), Unfit: "error", Capture: postgres.Capture{Strategy: "xmin"}}, newNotes())
	s.Drain()
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range lanes {
		reader, err := s.Open(t.Context(), l, "")
		if err != nil {
			t.Fatal(err)
		}
		rows, refused := 0, 0
		for {
			chunk, err := reader.Read(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(l.ID, err)
			}
			for _, b := range chunk.Batches {
				rows += b.Rows
			}
			for _, one := range chunk.Refused {
				refused++
				if one.Column != "at" || fault.Code(one.Err) != "ACQ-PG-021" || one.Version.Lo == 0 || !strings.Contains(string(one.Raw), "infinity") {
					t.Errorf("%+v", one)
				}
			}
			chunk.Release()
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		if rows != 24975 || refused != 25 {
			t.Errorf("%s: %d rows, %d refused", l.ID, rows, refused)
		}
		if i == 0 { // all of it changes, and is found again by the poll
			server.Exec(t, dsn, `update odd set at = at + interval '1 s'`)
		}
	}
}
