package postgres_test

import (
	"strings"
	"testing"
)

// big is a text of 20 kB that does not compress well, and so stands out of line.
const big = `(SELECT string_agg(md5(i::text || random()::text), '') FROM generate_series(1, 625) i)`

// documents is SQL that gives the rows of the table documents as the sinks have them.
const documents = `SELECT id::text, format('{"id":%s,"n":%s,"body":%s,"other":%s,"twice":%s}', id, n, coalesce(to_json(body)::text, 'null'),
	coalesce(to_json(other)::text, 'null'), twice) FROM documents`

// TestLogReadsWhatWasNotSent updates rows with large values that the update does not touch, which the server does not send then.
func TestLogReadsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"default", "full"} {
		t.Run(identity, func(t *testing.T) {
			t.Parallel()
			dsn := server.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text, other text, twice int4 GENERATED ALWAYS AS (n * 2) STORED)`,
				`ALTER TABLE documents REPLICA IDENTITY `+identity, `INSERT INTO documents SELECT n, n, `+big+` || n, NULL FROM generate_series(1, 40) n`)
			p := newPipeline(dsn).name()
			p.publish(t, dsn, "documents")
			if err := p.run(t, nil); err != nil {
				t.Fatal(err)
			}
			p.equal(t, dsn, "documents", documents)
			server.Exec(t, dsn, `UPDATE documents SET n = n + 100 WHERE id <= 10`,
				`BEGIN; INSERT INTO documents VALUES (50, 1, `+big+`, `+big+`); UPDATE documents SET n = 2 WHERE id = 50; COMMIT`,
				`UPDATE documents SET other = `+big+` WHERE id = 11`, `UPDATE documents SET n = 11 WHERE id = 11`, // two values, of which one is new
				`UPDATE documents SET n = 12 WHERE id = 12`, `DELETE FROM documents WHERE id = 12`,
				`UPDATE documents SET n = 13 WHERE id = 13`, `DELETE FROM documents WHERE id = 13`, `INSERT INTO documents VALUES (13, 0, 'small', NULL)`,
				`UPDATE documents SET id = 114 WHERE id = 14`, `UPDATE documents SET id = 115, n = 115 WHERE id = 15`, `UPDATE documents SET id = 15 WHERE id = 115`,
				`UPDATE documents SET n = 16 WHERE id = 16`, `UPDATE documents SET body = 'other' WHERE id = 16`,
				`UPDATE documents SET n = 17 WHERE id = 17`, `UPDATE documents SET body = NULL WHERE id = 17`)
			if err := p.run(t, nil); err != nil {
				t.Fatal(err)
			}
			p.equal(t, dsn, "documents", documents)
			p.image.once(t)
			if p.image.absent > 0 {
				t.Errorf("%d values are absent", p.image.absent)
			}
			for key, text := range p.image.latest("documents") {
				if strings.Contains(text, `"body":null`) && key != "17" {
					t.Errorf("%s has lost its text", key)
				}
			}
		})
	}
}
