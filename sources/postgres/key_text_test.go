package postgres_test

import (
	"testing"

	"github.com/acequia-io/acequia/sources"
)

// TestQueueOfKeysWithSeveralTexts changes and deletes rows whose keys the server finds equal to keys of another text: a sink tells
// keys apart by their texts.
func TestQueueOfKeysWithSeveralTexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue",
		"CREATE TABLE padded (id char(5) PRIMARY KEY, v text)", "INSERT INTO padded VALUES ('a', 'stays'), ('b', 'goes'), ('c', 'changes')",
		"CREATE TABLE scaled (id numeric PRIMARY KEY, v text)", "INSERT INTO scaled VALUES (1, 'stays'), (2.0, 'is printed otherwise'), (3, 'goes')",
		"CREATE TABLE zero (id float8 PRIMARY KEY, at interval UNIQUE, v text)", "INSERT INTO zero VALUES (0, '1 day', 'zero')")
	w.install(sources.InstallRequest{Strategy: "queue"})
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	w.exec("DELETE FROM padded WHERE id = 'b'", "UPDATE padded SET v = 'changed' WHERE id = 'c'",
		"UPDATE scaled SET id = 2.00 WHERE id = 2", "DELETE FROM scaled WHERE id = 3", "INSERT INTO scaled VALUES (3.0, 'came back')",
		"UPDATE zero SET id = '-0'")
	for _, stream := range []string{"padded", "scaled", "zero"} {
		w.equal(stream, true)
	}
}
