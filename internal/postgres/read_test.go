package postgres_test

import (
	"testing"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

func connect(t *testing.T, dsn string) *postgres.Conn {
	t.Helper()
	c, err := postgres.Connect(t.Context(), postgres.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(t.Context()); err != nil {
			t.Log(err)
		}
	})
	return c
}

func TestRowsBecomeBatches(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, price numeric(12,2), name text, at timestamptz, day date, net inet)`,
		`INSERT INTO orders VALUES (1, 12.30, 'a', '2026-01-02 03:04:05.000006+00', '2026-01-02', '10.0.0.1'), (2, NULL, NULL, 'infinity', '0044-03-15 BC', NULL)`)
	c := connect(t, dsn)
	if _, err := postgres.Inspect(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	tables, err := postgres.ListTables(t.Context(), c, []string{"public.*"})
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	l, err := postgres.NewLayout(tables[0], postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := l.Decoder()
	if err := c.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM "+tables[0].Quoted()+" ORDER BY id", nil, d, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	batches, err := d.Batches(func(int, *record.System) {})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, b := range batches {
		for row := range b.Rows {
			got += string(b.AppendJSON(nil, row)) + "\n"
		}
	}
	const want = `{"id":1,"price":"12.30","name":"a","at":"2026-01-02T03:04:05.000006Z","day":"2026-01-02","net":"10.0.0.1","at__raw":null,"day__raw":null}
{"id":2,"price":null,"name":null,"at":null,"day":null,"net":null,"at__raw":"infinity","day__raw":"0044-03-15 BC"}
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
