package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/postgres"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

// audit notes each change that the table of the suite really sees, by triggers of the server.
const audit = `
CREATE TABLE IF NOT EXISTS audit (id bigint, text text, op text, version text);
CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF TG_OP = 'DELETE' THEN
		INSERT INTO audit SELECT OLD.id, NULL, 'D', "_version" FROM acequia.deletes_1 WHERE id = OLD.id;
	ELSE
		INSERT INTO audit VALUES (NEW.id, NEW.text, NEW."_op", NEW."_version");
	END IF;
	RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON suite FOR EACH ROW EXECUTE FUNCTION note();`

func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Harness{Refused: "\x00", New: func(t *testing.T) sinktest.Place {
		t.Helper()
		dsn := server.Database(t)
		with := func(do func(ctx context.Context, c *pgx.Conn) error) error {
			ctx := context.Background()
			c, err := pgx.Connect(ctx, dsn)
			if err != nil {
				return err
			}
			return errors.Join(do(ctx, c), c.Close(ctx))
		}
		audited := false
		return sinktest.Place{
			Sink: func() (sinks.Sink, error) {
				s, err := postgres.New(postgres.Config{DSN: config.Secret(dsn)}, "suite", slog.New(slog.DiscardHandler))
				if err != nil || audited {
					return s, err
				}
				schema, err := sinktest.Schema()
				if err != nil {
					return nil, err
				}
				audited = true
				return s, errors.Join(s.Declare(context.Background(), []*record.Schema{schema}), with(func(ctx context.Context, c *pgx.Conn) error {
					_, err := c.PgConn().Exec(ctx, audit).ReadAll()
					return err
				}))
			},
			Rows: func() (found []sinktest.Row, err error) {
				err = with(func(ctx context.Context, c *pgx.Conn) error {
					rows, err := c.Query(ctx, "SELECT id, coalesce(text, ''), text IS NULL, op, version FROM audit")
					if err != nil {
						return err
					}
					var r sinktest.Row
					var op string
					_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Text, &r.Null, &op, &r.Version}, func() error {
						r.Op = record.Op(op[0])
						found = append(found, r)
						return nil
					})
					return err
				})
				return found, err
			},
			Staged: func() (n int, err error) {
				err = with(func(ctx context.Context, c *pgx.Conn) error {
					return c.QueryRow(ctx, `SELECT greatest((SELECT count(*) FROM acequia.stages),
						(SELECT count(*) FROM pg_class WHERE relnamespace = 'acequia'::regnamespace AND relkind = 'r' AND relname LIKE 'stage\_%'))`).Scan(&n)
				})
				return n, err
			},
			Lose: func(f sinks.File) error {
				return with(func(ctx context.Context, c *pgx.Conn) error {
					_, err := c.Exec(ctx, "DROP TABLE "+f.Staged)
					return err
				})
			},
		}
	}})
}
