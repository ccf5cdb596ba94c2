package postgres_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/internal/postgres"
)

// copied reads a table as a snapshot does, without its key, and copies what was read into another.
func copied(t *testing.T, c *postgres.Conn, from, to string) {
	t.Helper()
	read := func(name string) *postgres.Layout {
		table := listOne(t, c, name)
		table.Key = nil
		l, err := postgres.NewLayout(table, postgres.LayoutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	source := read(from)
	d := source.Decoder()
	if err := c.StreamInto(t.Context(), "SELECT "+source.Select()+" FROM "+from, nil, d, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	b := only(t, d)
	into := read(to).Copier()
	text, err := into.Append(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PgConn().CopyFrom(t.Context(), bytes.NewReader(text), into.SQL()); err != nil {
		t.Fatal(err)
	}
}

// TestCopyGivesEveryValueBack copies a table of every type by way of a batch: the server prints the same of both.
func TestCopyGivesEveryValueBack(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	c := connect(t, server.Database(t, prelude...))
	all := kinds()
	fillEvery(t, c, r, all)
	for _, sql := range []string{
		"INSERT INTO every (id, c22) VALUES (1000, E'a\\tb\\\\N\\r\\n'), (1001, '\\N'), (1002, '\\.')",
		"CREATE TABLE again (LIKE every)", "ALTER TABLE again ADD computed int GENERATED ALWAYS AS (id + 1) STORED",
		"ALTER TABLE every ADD computed int GENERATED ALWAYS AS (id + 1) STORED",
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	copied(t, c, "public.every", "public.again")
	want, got := printed(t, c, "SELECT * FROM every ORDER BY id"), printed(t, c, "SELECT * FROM again ORDER BY id")
	if len(want) != len(got) || len(want) < 60 {
		t.Fatalf("%d rows became %d", len(want), len(got))
	}
	for row := range want {
		for i := range want[row] {
			if a, b := want[row][i], got[row][i]; a.Kind != b.Kind || !bytes.Equal(a.Data, b.Data) {
				t.Errorf("row %d, column %d: %q became %q", row, i, a.Data, b.Data)
			}
		}
	}
}

// TestCopyGivesBytesBackThatAreNoUTF8 does so in a database that takes any bytes as text.
func TestCopyGivesBytesBackThatAreNoUTF8(t *testing.T) {
	t.Parallel()
	root := connect(t, server.DSN("postgres"))
	if _, err := root.Exec(t.Context(), "CREATE DATABASE copies_bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"); err != nil {
		t.Fatal(err)
	}
	c := connect(t, server.DSN("copies_bytes"))
	for _, sql := range []string{
		`CREATE TABLE a (id int, t text, l text[])`, `CREATE TABLE b (LIKE a)`,
		`INSERT INTO a VALUES (1, E'\xff\x80', ARRAY[E'\xe9', 'x']), (2, '\xff', ARRAY['\xe9']), (3, 'plain', NULL), (4, 'infinity', '{{1}}')`,
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	copied(t, c, "public.a", "public.b")
	want, got := printed(t, c, "SELECT * FROM a ORDER BY id"), printed(t, c, "SELECT * FROM b ORDER BY id")
	if !slices.EqualFunc(want, got, func(a, b []postgres.Value) bool {
		return slices.EqualFunc(a, b, func(x, y postgres.Value) bool { return x.Kind == y.Kind && bytes.Equal(x.Data, y.Data) })
	}) {
		t.Errorf("%q became %q", want, got)
	}
}
