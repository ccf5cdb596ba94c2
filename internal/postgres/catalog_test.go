package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// summary gives what a test compares of a table.
func summary(tables []*postgres.Table) (all []string) {
	for _, t := range tables {
		var columns []string
		for _, c := range t.Columns {
			columns = append(columns, c.Name)
		}
		all = append(all, fmt.Sprintf("%s %s (%s) key (%s)", t.Stream(), t.Kind, strings.Join(columns, ","), strings.Join(t.Key, ",")))
	}
	return all
}

func TestTablesAreListed(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t,
		`CREATE TABLE "Order" ("Id" int PRIMARY KEY, "select" text, "a""b" text, gone int, doubled int GENERATED ALWAYS AS ("Id" * 2) STORED)`,
		`ALTER TABLE "Order" DROP gone`,
		`CREATE UNLOGGED TABLE keyless (a int, b int NOT NULL, c int NOT NULL)`,
		`CREATE UNIQUE INDEX ON keyless (a)`, `CREATE UNIQUE INDEX ON keyless (b) WHERE c > 0`, `CREATE UNIQUE INDEX ON keyless ((b + 1))`,
		`CREATE TABLE unique2 (a int NOT NULL, b int NOT NULL, c int)`, `CREATE UNIQUE INDEX ON unique2 (b, a) INCLUDE (c)`,
		`CREATE TABLE deferred (a int, PRIMARY KEY (a) DEFERRABLE INITIALLY DEFERRED)`,
		`CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)`,
		`CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY LIST (id)`,
		`CREATE TABLE parts_a1 PARTITION OF parts_a DEFAULT`, `INSERT INTO parts SELECT i, '2026-01-02' FROM generate_series(1, 100) i`,
		`CREATE TABLE parent (id int PRIMARY KEY)`, `CREATE TABLE child (extra int) INHERITS (parent)`,
		`INSERT INTO parent VALUES (1)`, `INSERT INTO child VALUES (2, 3)`,
		`CREATE VIEW seen AS SELECT 1 AS one`, `CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one`,
		`CREATE TABLE nothing ()`, `CREATE TABLE emptied (a int)`, `ALTER TABLE emptied DROP a`,
		`CREATE SCHEMA other`, `CREATE TABLE other.keyed (id int PRIMARY KEY)`, `CREATE TABLE tmp_x (id int)`, `CREATE TABLE "with/slash" (id int)`,
		`CREATE SCHEMA acequia`, `CREATE TABLE acequia.queue (id int)`, `CREATE TEMP TABLE mine (id int)`,
		`CREATE EXTENSION postgres_fdw`, `CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw`, `CREATE FOREIGN TABLE abroad (id int) SERVER far`,
	)
	c := connect(t, dsn)
	tables, err := postgres.ListTables(t.Context(), c, []string{"public.*", "other.*", "!tmp_*"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"other.keyed table (id) key (id)",
		`Order table (Id,select,a"b,doubled) key (Id)`,
		"abroad foreign table (id) key ()",
		"child table (id,extra) key ()",
		"deferred table (a) key (a)",
		"emptied table () key ()",
		"kept materialized view (one) key ()",
		"keyless table (a,b,c) key ()",
		"nothing table () key ()",
		"parent table (id) key (id)",
		"parts partitioned table (id,day) key (id,day)",
		"seen view (one) key ()",
		"unique2 table (a,b,c) key (b,a)",
		"with/slash table (id) key ()",
	}
	if diff := cmp.Diff(want, summary(tables)); diff != "" {
		t.Error(diff)
	}
	if own, err := postgres.ListTables(t.Context(), c, []string{"acequia.*", "pg_catalog.*", "pg_temp*.*"}); err != nil || len(own) > 0 {
		t.Errorf("%q, %v", summary(own), err)
	}
	for _, table := range tables {
		n := 0
		if table.Kind == postgres.Foreign {
			continue // nobody is there
		}
		l, err := postgres.NewLayout(table, postgres.LayoutOptions{})
		if len(table.Columns) == 0 {
			if fault.Code(err) != "ACQ-PG-020" {
				t.Errorf("%s: %v", table.Name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Stream(t.Context(), "SELECT "+l.Select()+" FROM "+from(table), nil, func([][]byte) error { n++; return nil }); err != nil {
			t.Errorf("%s: %v", table.Name, err)
		}
		if rows := map[string]int{"parts": 100, "parent": 1, "child": 1, "seen": 1, "kept": 1}[table.Name]; n != rows {
			t.Errorf("%s: read %d rows, want %d", table.Name, n, rows)
		}
	}
}

func TestGlobs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		globs, table string
		want         bool
	}{
		{"public.*", "public.a", true},
		{"*", "public.a", true},
		{"*", "other.a", false},
		{"*.*", "other.a", true},
		{"orders", "public.orders", true},
		{"public.* !public.tmp_*", "public.tmp_1", false},
		{"!public.tmp_* public.*", "public.tmp_1", false},
		{"public.*", "public.a/b", true},
		{"public.a?", "public.ab", true},
		{"public.[ab]*", "public.bx", true},
		{`public.\*`, "public.*", true},
		{`public.\*`, "public.x", false},
	} {
		schema, name, _ := strings.Cut(c.table, ".")
		if got, err := postgres.Matches(strings.Fields(c.globs), schema, name); got != c.want || err != nil {
			t.Errorf("%s of %s: %v, %v", c.globs, c.table, got, err)
		}
	}
	if _, err := postgres.Matches([]string{"public.[a"}, "public", "a"); err == nil {
		t.Error("a glob without an end matches")
	}
}

func TestRowsAreEstimated(t *testing.T) {
	t.Parallel()
	c := connect(t, server.Database(t,
		"CREATE TABLE analyzed AS SELECT i FROM generate_series(1, 10000) i", "ANALYZE analyzed",
		"CREATE TABLE unknown (i int) WITH (autovacuum_enabled = off)", "INSERT INTO unknown SELECT generate_series(1, 10000)", "CREATE TABLE empty (i int)",
		"CREATE TABLE parts (i int) PARTITION BY RANGE (i)", "CREATE TABLE p1 PARTITION OF parts FOR VALUES FROM (0) TO (5000)",
		"CREATE TABLE p2 PARTITION OF parts FOR VALUES FROM (5000) TO (20000)", "INSERT INTO parts SELECT generate_series(1, 10000)", "ANALYZE p1",
	))
	for name, want := range map[string][2]int64{"analyzed": {10000, 10000}, "unknown": {8000, 13000}, "empty": {0, 0}, "parts": {9000, 12000}} {
		table := listOne(t, c, name)
		if table.Rows < want[0] || table.Rows > want[1] || table.Bytes == 0 && name != "empty" {
			t.Errorf("%s: %d rows, %d bytes", name, table.Rows, table.Bytes)
		}
	}
}

func TestMissingRightsNameTheGrant(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, "CREATE TABLE open (i int)", "CREATE TABLE shut (i int)", "CREATE SCHEMA inner_", "CREATE TABLE inner_.t (i int)",
		"CREATE TABLE hidden (i int)", "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY", `CREATE ROLE "plain role" LOGIN`, `GRANT SELECT ON open, hidden TO "plain role"`)
	c := connect(t, strings.Replace(dsn, "postgres@", "plain%20role@", 1))
	tables, err := postgres.ListTables(t.Context(), c, []string{"*.*"})
	if got := summary(tables); err != nil || !slices.Equal(got, []string{"hidden table (i) key ()", "open table (i) key ()"}) {
		t.Errorf("%q, %v", got, err)
	}
	grants, err := postgres.Denied(t.Context(), c, []string{"*.*"}, nil)
	want := []string{
		`GRANT USAGE ON SCHEMA "inner_" TO "plain role"`, `GRANT SELECT ON "inner_"."t" TO "plain role"`, `GRANT SELECT ON "public"."shut" TO "plain role"`,
	}
	if diff := cmp.Diff(want, grants); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for sql, remedy := range map[string]string{
		"SELECT * FROM shut": "GRANT SELECT ON shut", "SELECT * FROM inner_.t": "GRANT USAGE ON SCHEMA inner_", "SELECT * FROM hidden": "BYPASSRLS",
	} {
		err := c.Stream(t.Context(), sql, nil, func([][]byte) error { return nil })
		if fault.Code(err) != "ACQ-PG-005" || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	s, err := postgres.Inspect(t.Context(), c)
	if err != nil || s.ReadAllStats || s.Replication || s.Superuser || s.System == "" || s.Timeline != 1 || s.WALLevel != "logical" || s.MaxPrepared != 20 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestManyTablesAndColumns(t *testing.T) {
	t.Parallel()
	var columns []string
	for i := range 1600 {
		columns = append(columns, fmt.Sprintf("c%d int2", i))
	}
	dsn := server.Database(t, "CREATE SCHEMA many", "DO $$ BEGIN FOR i IN 1..2000 LOOP EXECUTE format('CREATE TABLE many.t%s (id int PRIMARY KEY, a text, b numeric(10,2))', i); END LOOP; END $$",
		"CREATE TABLE wide ("+strings.Join(columns, ", ")+")", "INSERT INTO wide (c0, c1599) VALUES (1, 2), (3, 4)")
	c := connect(t, dsn)
	begin := time.Now()
	tables, err := postgres.ListTables(t.Context(), c, []string{"many.*"})
	if took := time.Since(begin); err != nil || len(tables) != 2000 || len(tables[1999].Columns) != 3 || took > 10*time.Second {
		t.Errorf("%d tables in %v, %v", len(tables), took, err)
	} else {
		t.Logf("2,000 tables in %v", took)
	}
	wide := listOne(t, c, "wide")
	l, err := postgres.NewLayout(wide, postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := l.Decoder()
	if err := c.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM wide", nil, d, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	if b := only(t, d); b.Rows != 2 || b.Columns[1599].Int(1) != 4 || b.Columns[1].Nulls(0, 2) != 2 {
		t.Errorf("%d rows", b.Rows)
	}
}

// TestDatabaseOfAnyBytes: a SQL_ASCII database may hold text that is no UTF-8.
func TestDatabaseOfAnyBytes(t *testing.T) {
	t.Parallel()
	server.Exec(t, server.DSN("postgres"), "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
		"CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	server.Exec(t, server.DSN("bytes"), "SET client_encoding = SQL_ASCII", "CREATE TABLE t (id int PRIMARY KEY, a text, b text[])",
		"INSERT INTO t VALUES (1, E'caf\\xe9', '{}'), (2, E'caf\\xc3\\xa9', ARRAY[E'\\xff'])")
	c := connect(t, server.DSN("bytes"))
	l, err := postgres.NewLayout(listOne(t, c, "t"), postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	binary, text := l.Decoder(), l.Decoder()
	if err := c.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM t ORDER BY id", nil, binary, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, values := range printed(t, c, "SELECT * FROM t ORDER BY id") {
		if err := text.Text(values); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"id":1,"a":null,"b":[],"a__raw":"\\x636166e9","b__raw":null}
{"id":2,"a":"café","b":null,"a__raw":null,"b__raw":"\\x7bff7d"}
`
	for name, d := range map[string]*postgres.Decoder{"binary": binary, "text": text} {
		if got := lines(only(t, d)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	server.Exec(t, server.DSN("latin"), "SET client_encoding = UTF8", "CREATE TABLE t (a text)", "INSERT INTO t VALUES ('café')")
	latin := connect(t, server.DSN("latin"))
	if err := latin.Stream(t.Context(), "SELECT a FROM t", nil, func(v [][]byte) error {
		if string(v[0]) != "café" {
			t.Errorf("%q", v[0])
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func lines(b *record.Batch) (s string) {
	for row := range b.Rows {
		s += string(b.AppendJSON(nil, row)) + "\n"
	}
	return s
}
