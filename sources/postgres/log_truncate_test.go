package postgres_test

import (
	"testing"

	"github.com/acequia-io/acequia/sources/postgres"
)

// TestLogAndARewriteAfterATruncate changes the values of a table by ALTER TABLE after a TRUNCATE that the log has told.
func TestLogAndARewriteAfterATruncate(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string][]string{
		"later":              {`TRUNCATE orders`, `INSERT INTO orders VALUES (7, 'after')`, `ALTER TABLE orders ALTER name TYPE text USING name || '!'`},
		"in one transaction": {`BEGIN; TRUNCATE orders; INSERT INTO orders VALUES (7, 'after'); ALTER TABLE orders ALTER name TYPE text USING name || '!'; COMMIT`},
	} {
		dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a'), (2, 'b')`)
		p := newPipeline(dsn).name()
		p.publish(t, dsn, "orders")
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		s, lanes := p.start(t)
		log := lanes[len(lanes)-1]
		r := p.open(t, s, log)
		server.Exec(t, dsn, sql...)
		for len(p.image.latest("orders")) != 1 {
			c, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p.image.take(t, c)
			p.positions[log.ID] = c.To
		}
		postgres.Stale(s)
		lanes = appear(t, s, "orders@2/")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for _, l := range lanes {
			if err := p.lane(t.Context(), t, s, l, nil); err != nil {
				t.Fatal(err)
			}
		}
		t.Log(name)
		p.equal(t, dsn, "orders", orders)
	}
}

// TestLogAndATruncateThatLoads empties a table and fills it in one transaction, as jobs do each night: that is told, and no reason to
// read the table anew.
func TestLogAndATruncateThatLoads(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a'), (2, 'b')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	s, lanes := p.start(t)
	log := lanes[len(lanes)-1]
	r := p.open(t, s, log)
	server.Exec(t, dsn, `BEGIN; TRUNCATE orders; INSERT INTO orders VALUES (7, 'after'); COMMIT`)
	for len(p.image.latest("orders")) != 1 {
		c, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.image.take(t, c)
	}
	postgres.Stale(s)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if lanes[0].ID != "orders@1/0" {
		t.Errorf("the table is read anew: lane %s", lanes[0].ID)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
}
