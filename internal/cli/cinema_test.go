package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/cinema"
)

// TestCinema runs the example from empty databases to the report: nine tables of three servers, with the real films.
func TestCinema(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	films := realFilms(t, dir)
	text := read(t, "../../examples/cinema/cinema.yaml")
	for address, here := range map[string]string{
		"${MYSQL_DSN:-mysql://cinema@127.0.0.1:3306/cinema}": cinemaRooms(t), "${POSTGRES_DSN:-postgres://cinema@127.0.0.1:5432/cinema}": cinemaPeople(t),
		"${MONGODB_URI:-mongodb://127.0.0.1:27017}": cinemaFilms(t, films),
	} {
		if !strings.Contains(text, address) {
			t.Fatal("the example names no ", address)
		}
		text = strings.Replace(text, address, here, 1)
	}
	file := filepath.Join(dir, "cinema.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, err := once(t.Context(), order{}, "backfill", file)
	if err != nil || code != exitOK {
		t.Fatalf("backfill: %d, %v\n%s", code, err, out)
	}
	reports, err := filepath.Glob(filepath.Join(dir, "analytics", "migration_reports", "*.json"))
	if err != nil || len(reports) != 1 {
		t.Fatal(reports, err)
	}
	report := strings.Join(strings.Fields(read(t, reports[0])), " ")
	const counts = `"record_counts": { "mongodb": { "genres": 21, "movies": 3201 }, "mysql": { "rooms": 10, "schedules": 300, "seats": 1000 }, ` +
		`"postgresql": { "payments": 200, "reservations": 200, "reserved_seats": 400, "users": 50 } }, "total_records_migrated": 5382, "migration_status": "SUCCESS"`
	if !strings.Contains(report, counts) || strings.Count(report, `"verify": "equal"`) != 9 || strings.Count(report, `"content_hash": "`) != 9 {
		t.Errorf("report:\n%s", report)
	}
	cinemaItems(t, filepath.Join(dir, ".acequia", "items.db"))
	cinemaBackups(t, file)
	for _, table := range cinema.Tables() {
		cinemaColumns(t, table, read(t, filepath.Join(dir, "analytics", "analytics_data", "_tables", table.Name+".json")))
	}
}

// cinemaBackups keeps the three databases, and compares what was kept with them.
func cinemaBackups(t *testing.T, file string) {
	t.Helper()
	code, out, err := once(t.Context(), order{}, "backup", "create", file, "--json")
	if err != nil || code != exitOK {
		t.Fatalf("backup: %d, %v\n%s", code, err, out)
	}
	for name, rows := range map[string]string{"mysql": "1310", "postgresql": "850", "mongodb": "3222"} {
		if !strings.Contains(out, `"source_db": "`+name+`"`) || !strings.Contains(out, `"rows": `+rows+",") {
			t.Errorf("the backup of %s is not of %s rows: %s", name, rows, out)
		}
		if code, out, err := once(t.Context(), order{}, "backup", "verify", "-f", file, "--source", name, "--against-source"); err != nil || code != exitOK {
			t.Errorf("verify %s: %d, %v\n%s", name, code, err, out)
		}
	}
}

// cinemaColumns wants the columns that are declared, and beside them only those for values of other types.
func cinemaColumns(t *testing.T, table cinema.Table, description string) {
	t.Helper()
	found, err := schemas.DecodeLakeTable([]byte(description))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, c := range found.Columns {
		kinds[c.Name] = c.TypeName()
	}
	for _, c := range table.Columns {
		if kinds[c.Name] != c.TypeName() {
			t.Errorf("%s.%s is %q, declared is %s", table.Name, c.Name, kinds[c.Name], c.TypeName())
		}
		delete(kinds, c.Name)
	}
	for name := range kinds {
		if !strings.HasSuffix(name, "__raw") && name != "_rest" {
			t.Errorf("%s.%s is not declared", table.Name, name)
		}
	}
}

// cinemaItems asks the indexes.
func cinemaItems(t *testing.T, path string) {
	t.Helper()
	store, err := itemstore.OpenToRead(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		table, index, key string
		want              int
	}{
		{"cinema-movies", "by_genre", "Drama", 789},
		{"cinema-movies", "by_genre", "Fantasy", 265},
		{"cinema-movies", "by_genre", "Musical", 53},
		{"cinema-rooms", "by_screen_type", "IMAX", 3},
		{"cinema-reservations", "by_user", "7", 4},
		{"cinema-reservations", "by_movie", "000000000000000000000010", 1},
		{"cinema-users", "by_email", "user50@example.com", 1},
		{"cinema-users", "by_email", "nobody", 0},
	} {
		found, err := store.Query(t.Context(), c.table, c.index, []any{c.key}, 1000, "")
		if err != nil || len(found) != c.want {
			t.Errorf("%s by %s = %s: %d items, %v, want %d", c.table, c.index, c.key, len(found), err, c.want)
		}
	}
	if n := len(store.Tables()); n != len(cinema.Items()) {
		t.Errorf("%d tables of items", n)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // a file of the test
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func cinemaRooms(t *testing.T) string {
	t.Helper()
	s, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	var statements []string
	for part := range strings.SplitSeq(read(t, "../../examples/cinema/rooms.sql"), ";\n") {
		if strings.TrimSpace(part) != "" {
			statements = append(statements, part)
		}
	}
	return s.DSN(s.Database(t, statements...))
}

func cinemaPeople(t *testing.T) string {
	t.Helper()
	s, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	dsn := s.DSN("cinema")
	if err := errors.Join(runSQL(s.DSN("postgres"), "create database cinema"), runSQL(dsn, read(t, "../../examples/cinema/people.sql"))); err != nil {
		t.Fatal(err)
	}
	return dsn
}

func cinemaFilms(t *testing.T, folder string) string {
	t.Helper()
	s, err := mongodbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	db := mongodbtest.Connect(t, s.URI, "cinema")
	for _, name := range []string{"movies", "genres"} {
		mongodbtest.InsertJSON(t, db.Collection(name), read(t, filepath.Join(folder, name+".ndjson")))
	}
	return s.URI
}

func closed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// realFilms makes the documents as README.md says, from the npm package; without npm there are none.
func realFilms(t *testing.T, dir string) string {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		c := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			without(t, "the films come with npm: ", name, ": ", err, ": ", string(out))
		}
	}
	script, err := filepath.Abs("../../examples/cinema/movies.mjs")
	if err != nil {
		t.Fatal(err)
	}
	run("npm", "pack", "--silent", "vega-datasets@3.2.1")
	run("tar", "xzf", "vega-datasets-3.2.1.tgz", "package/data/movies.json")
	run("node", script, "package/data/movies.json", ".")
	return dir
}
