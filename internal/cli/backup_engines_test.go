package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
)

// engineProject has a database, and an empty one beside it, whose settings are put in.
const engineProject = `version: 1
sources:
  shop: { %s }
  copy: { %s }
sinks: { out: { type: discard } }
pipelines: { shop: { from: shop, to: [out] } }
backup: { url: %s, sources: [shop], keep: { daily: 1 } }
`

// newEngineRun writes a project over two databases of a server. It keeps backups at a URL, which settings may follow.
func newEngineRun(t *testing.T, engine, url, shop, other string) *backupRun {
	t.Helper()
	r := &backupRun{t: t, engine: engine, shop: shop, copy: other, file: filepath.Join(t.TempDir(), "shop.yaml"), root: url}
	if err := os.WriteFile(r.file, fmt.Appendf(nil, engineProject, shop, other, r.root), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// equal compares the newest backup with the copy.
func (r *backupRun) equal() {
	r.t.Helper()
	other := r.file + ".copy.yaml"
	if err := os.WriteFile(other, fmt.Appendf(nil, engineProject, r.copy, r.copy, r.root), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.must("verify", "-f", other, "--against-source")
}

// killed kills the making of a backup, and restores at each point: there is nothing, or all is there. between is done after each death.
func (r *backupRun) killed(tables func() []string, drop, between func()) {
	r.t.Helper()
	r.must("create", r.file)
	r.dies(backup.BeforeManifest+":1", "create", r.file)
	r.whole("a death", 1)
	for _, at := range []string{backup.AfterTable + ":1", backup.BeforeFinish + ":1"} {
		r.dies(at, "restore", "-f", r.file, "--into", "copy")
		if there := tables(); len(there) > 0 {
			r.t.Errorf("after %s there are %v", at, there)
		}
		between()
	}
	r.dies(backup.AfterFinish+":1", "restore", "-f", r.file, "--into", "copy")
	r.equal()
	between()
	drop()
	r.must("restore", "-f", r.file, "--into", "copy")
	r.equal()
}

// newMariaShop fills a database of a MariaDB of its own.
func newMariaShop(t *testing.T) (s *mysqltest.Server, name string) {
	t.Helper()
	s, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	name = s.Database(t, "CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, note varchar(40), KEY (note))", "INSERT INTO orders (note) SELECT md5(seq) FROM seq_1_to_5000",
		"CREATE TABLE parts (order_id int, n int, FOREIGN KEY (order_id) REFERENCES orders (id))", "INSERT INTO parts SELECT seq, seq % 7 FROM seq_1_to_5000")
	return s, name
}

// newMongoShop fills a database of a FerretDB of its own.
func newMongoShop(t *testing.T) (s *mongodbtest.Server, shop *mongo.Database) {
	t.Helper()
	s, err := mongodbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	shop = s.Database(t)
	var docs []bson.D
	for i := range 3000 {
		docs = append(docs, bson.D{{Key: "_id", Value: int32(i)}, {Key: "note", Value: strings.Repeat("x", i%50)}})
	}
	mongodbtest.Insert(t, shop.Collection("orders"), docs...)
	mongodbtest.Insert(t, shop.Collection("parts"), docs[:10]...)
	return s, shop
}

// TestRestoreOfMySQLIsKilled kills restores into MariaDB: what is left stands in a database of its own, which the next restore drops.
func TestRestoreOfMySQLIsKilled(t *testing.T) {
	t.Parallel()
	s, shop := newMariaShop(t)
	other := s.Database(t)
	c, err := s.Connect("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Quit() }()
	names := func(condition string) (out []string) {
		result, err := c.Execute("SELECT concat(table_schema, '.', table_name) FROM information_schema.tables WHERE " + condition)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range result.Values {
			out = append(out, string(row[0].AsString()))
		}
		return out
	}
	r := newEngineRun(t, "mysql", filepath.Join(t.TempDir(), "kept"), "type: mysql, dsn: "+s.DSN(shop), "type: mysql, dsn: "+s.DSN(other))
	r.killed(func() []string { return names("table_schema = '" + other + "'") }, func() { s.Exec(t, other, "DROP TABLE parts, orders") }, func() {})
	if left := names(`table_schema LIKE 'acequia\_restore\_%'`); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	if _, err := c.Execute("INSERT INTO " + other + ".parts VALUES (0, 0)"); err == nil {
		t.Error("a foreign key is missing")
	}
}

// TestRestoreOfMongoDBIsKilled kills restores into MongoDB: what is left has names that nobody lists, and the next restore drops it when it is
// sure that nobody is at it.
func TestRestoreOfMongoDBIsKilled(t *testing.T) {
	t.Parallel()
	s, shop := newMongoShop(t)
	other := s.Database(t)
	names := func() []string {
		all, err := other.ListCollectionNames(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, "acequia_restore_") })
	}
	settings := func(database string) string {
		return fmt.Sprintf("type: mongodb, uri: %q, database: %s", s.URI, database)
	}
	r := newEngineRun(t, "mongodb", filepath.Join(t.TempDir(), "kept"), settings(shop.Name()), settings(other.Name()))
	heard := func(before time.Duration) {
		set := bson.D{{Key: "$set", Value: bson.D{{Key: "beat", Value: time.Now().Add(-before)}}}}
		if _, err := other.Collection("acequia_restore_lease").UpdateMany(t.Context(), bson.D{}, set); err != nil {
			t.Fatal(err)
		}
	}
	tried := false
	r.killed(names, func() {
		for _, name := range []string{"orders", "parts"} {
			if err := other.Collection(name).Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}, func() {
		if !tried {
			tried = true
			heard(-time.Hour) // the one that was killed might be alive
			if code, out := r.run(order{}, "restore", "-f", r.file, "--into", "copy"); !strings.Contains(out, "ACQ-MG-077") {
				t.Errorf("a restore at once says %d: %s", code, out)
			}
		}
		heard(time.Hour)
	})
	if all, err := other.ListCollectionNames(t.Context(), bson.D{}); err != nil || len(all) != 2 {
		t.Errorf("there are %v, %v", all, err)
	}
}
