package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
)

// TestLogAndColumnsThatChange changes the columns of a table between changes of its rows: each record has the columns of its moment. What
// that does to rows that are not changed is not in the log: the next look at the catalog has the table read anew.
func TestLogAndColumnsThatChange(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int4 PRIMARY KEY, name text, n int4)`, `INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', 2)`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	s, lanes := p.start(t)
	log := p.open(t, s, lanes[len(lanes)-1])
	server.Exec(t, dsn, `UPDATE orders SET n = 10 WHERE id = 1`, `ALTER TABLE orders ADD COLUMN more text`, `INSERT INTO orders VALUES (3, 'c', 3, 'new')`,
		`ALTER TABLE orders ALTER COLUMN n TYPE int8 USING n + 0`, `INSERT INTO orders VALUES (4, 'd', 5000000000, 'wide')`,
		`ALTER TABLE orders RENAME COLUMN name TO title`, `INSERT INTO orders VALUES (5, 'e', 5, 'renamed')`,
		`ALTER TABLE orders DROP COLUMN more`, `INSERT INTO orders VALUES (6, 'f', 6)`)
	for len(p.image.latest("orders")) < 6 {
		c, err := log.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.image.take(t, c)
		p.positions[lanes[len(lanes)-1].ID] = c.To
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	latest := p.image.latest("orders")
	for key, wants := range map[string][]string{
		"1": {`"name":"a"`, `"n":10`}, "2": {`"name":"b"`, `"n":2`}, "3": {`"name":"c"`, `"n":3`, `"more":"new"`},
		"4": {`"name":"d"`, `"n":5000000000`, `"more":"wide"`}, "5": {`"title":"e"`, `"more":"renamed"`}, "6": {`"title":"f"`, `"n":6`, `"more":null`},
	} {
		for _, want := range wants {
			if !strings.Contains(latest[key], want) {
				t.Errorf("%s is %s, without %s", key, latest[key], want)
			}
		}
	}
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	for key, text := range p.image.latest("orders") {
		if !strings.Contains(text, `"title":"`) {
			t.Errorf("after the rename %s is %s", key, text)
		}
	}
	p.image.once(t)
}

// TestLogStopsOneTable changes a type so that the column cannot hold it: that table stops, the other goes on, and when it is mended the
// table is read anew.
func TestLogStopsOneTable(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`,
		`INSERT INTO orders VALUES (1, 'a'), (2, 'b')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders, lines")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `INSERT INTO orders VALUES (3, '3')`, `DELETE FROM orders WHERE id = 2`, `UPDATE orders SET name = '7'`,
		`ALTER TABLE orders ALTER COLUMN name TYPE int4 USING name::int4`, `INSERT INTO orders VALUES (4, 4)`, `INSERT INTO lines VALUES (1, 'goes on')`)
	err := p.run(t, nil)
	if fault.Of(err) != fault.Fatal || !strings.Contains(fmt.Sprint(err), "orders") || !strings.Contains(fmt.Sprint(err), "name") {
		t.Errorf("the run says: %v", err)
	}
	p.equal(t, dsn, "lines", strings.ReplaceAll(orders, "orders", "lines"))
	server.Exec(t, dsn, `DELETE FROM orders WHERE id = 3`, `ALTER TABLE orders ALTER COLUMN name TYPE text`, `INSERT INTO lines VALUES (2, 'too')`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
	p.equal(t, dsn, "lines", strings.ReplaceAll(orders, "orders", "lines"))
	if note := string(p.state.kept["table orders"]); !strings.Contains(note, `"epoch":2`) {
		t.Errorf("the table was not read anew: %s", note)
	}
}

// TestLogOfPartitions follows a table by its root, whatever partitions its rows are in.
func TestLogOfPartitions(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8, name text, PRIMARY KEY (id)) PARTITION BY RANGE (id)`,
		`CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (100)`, `CREATE TABLE high PARTITION OF orders FOR VALUES FROM (100) TO (200)`,
		`INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 150) n`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	p.config.Tables = []string{"public.orders"}
	for _, sql := range []string{
		`SELECT 1`, `UPDATE orders SET name = 'x' WHERE id % 2 = 0`, `UPDATE orders SET id = 177 WHERE id = 7`, `DELETE FROM low WHERE id = 9`,
		`CREATE TABLE more PARTITION OF orders FOR VALUES FROM (200) TO (300)`, `INSERT INTO orders VALUES (250, 'more')`,
		`TRUNCATE orders`, `INSERT INTO orders SELECT n, 'm' || n FROM generate_series(50, 150) n`,
		`TRUNCATE low`, `DROP TABLE high`, `ALTER TABLE orders DETACH PARTITION more`,
		`CREATE TABLE filled (id int8 PRIMARY KEY, name text)`, `INSERT INTO filled VALUES (120, 'was there')`,
		`ALTER TABLE orders ATTACH PARTITION filled FOR VALUES FROM (100) TO (150)`,
	} {
		server.Exec(t, dsn, sql)
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		if sql != `CREATE TABLE filled (id int8 PRIMARY KEY, name text)` {
			p.equal(t, dsn, "orders", orders)
		}
		if t.Failed() {
			t.Fatalf("after %s", sql)
		}
	}
}

// TestLogAndReplicaIdentities are tables whose deletes do not name their rows.
func TestLogAndReplicaIdentities(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`,
		`INSERT INTO orders VALUES (1, 'a')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders, lines")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `ALTER TABLE orders REPLICA IDENTITY NOTHING`, `INSERT INTO orders VALUES (2, 'b')`, `INSERT INTO lines VALUES (1, 'goes on')`)
	err := p.run(t, nil)
	if fault.Of(err) != fault.Fatal || !strings.Contains(fmt.Sprint(err), "replica identity is nothing") {
		t.Errorf("the run says: %v", err)
	}
	p.equal(t, dsn, "lines", strings.ReplaceAll(orders, "orders", "lines"))
	server.Exec(t, dsn, `ALTER TABLE orders REPLICA IDENTITY DEFAULT`, `DELETE FROM orders WHERE id = 1`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
}

// TestLogAndTablesThatComeAndGo publishes a table later, drops one, makes it anew, and gives one another name.
func TestLogAndTablesThatComeAndGo(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "lines")
	p.config.Tables = []string{"public.lines"}
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.config.Tables = nil
	alter := "ALTER PUBLICATION " + p.config.Capture.Slot + " ADD TABLE orders"
	for _, sql := range []string{
		`CREATE TABLE orders (id int8 PRIMARY KEY, name text); INSERT INTO orders VALUES (1, 'a'), (2, 'b'); ` + alter + `; UPDATE orders SET name = 'c' WHERE id = 2`,
		`INSERT INTO orders VALUES (3, 'd')`,
		`DROP TABLE orders; CREATE TABLE orders (id int8 PRIMARY KEY, name text); INSERT INTO orders VALUES (2, 'again'); ` + alter,
		`DELETE FROM orders`,
		`INSERT INTO orders VALUES (5, 'e'); ALTER TABLE orders RENAME TO old; CREATE TABLE orders (id int8 PRIMARY KEY, name text); INSERT INTO orders VALUES (6, 'f'); ` + alter,
		`INSERT INTO orders VALUES (7, 'g'); INSERT INTO old VALUES (8, 'h')`,
	} {
		for one := range strings.SplitSeq(sql, "; ") {
			server.Exec(t, dsn, one)
		}
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		if p.equal(t, dsn, "orders", orders); t.Failed() {
			t.Fatalf("after %s", sql)
		}
	}
	p.equal(t, dsn, "old", strings.ReplaceAll(orders, "orders", "old"))
}
