package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
)

// TestLogRefusesRows gives rows that can be no records: they are dead letters with what is needed to repair them, and no more.
func TestLogRefusesRows(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, day date, name text)`)
	p := newPipeline(dsn).name()
	p.config.Unfit = "error"
	p.publish(t, dsn, "orders")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `INSERT INTO orders VALUES (1, 'infinity', E'a\x01a"\\b'), (2, 'infinity', repeat('x', 2000000)), (3, now(), 'good')`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	if len(p.image.refused) != 2 || len(p.image.latest("orders")) != 1 {
		t.Fatalf("%d rows are refused, %v are given", len(p.image.refused), p.image.latest("orders"))
	}
	var values map[string]string
	first := p.image.refused[0]
	if err := json.Unmarshal(first.Raw, &values); err != nil || values["id"] != "1" || values["name"] != "a\x01a\"\\b" {
		t.Errorf("the first is %q: %v", first.Raw, err)
	}
	if first.Column != "day" || first.EventID == "" || fault.Of(first.Err) != fault.Poison || !strings.Contains(fmt.Sprint(first.Err), "key 1") {
		t.Errorf("the first is %+v", first)
	}
	if n := len(p.image.refused[1].Raw); n > 1<<17 {
		t.Errorf("%d bytes of the second are kept", n)
	}
}
