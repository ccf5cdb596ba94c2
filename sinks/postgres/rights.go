package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
)

var (
	_ sinks.Checker  = (*Config)(nil)
	_ sinks.Surveyor = (*Config)(nil)
)

// Check tells whether the warehouse can be reached and written.
func (c *Config) Check(ctx context.Context) (found string, err error) {
	err = c.look(ctx, func(conn *postgres.Conn, v *view) error {
		found = fmt.Sprintf("schema %s can be written, %d tables are there", c.SchemaName(), len(v.tables))
		if !v.there {
			found = fmt.Sprintf("schema %s will be made", c.SchemaName())
		}
		return nil
	})
	return found, err
}

// Survey says which tables would be made or altered for records of the schemas, a line each.
func (c *Config) Survey(ctx context.Context, in []*record.Schema) (lines []string, err error) {
	err = c.look(ctx, func(conn *postgres.Conn, v *view) error {
		if !v.there {
			lines = append(lines, fmt.Sprintf("schema %s is made", c.SchemaName()))
		}
		for _, s := range in {
			line, err := v.survey(ctx, conn, c, s)
			if err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return nil
	})
	return lines, err
}

// view is what a look at the warehouse finds.
type view struct {
	role         string
	there, books bool // the schemas
	tables       map[string]known
}

// known is a table that the books have.
type known struct {
	id           int64
	stream       string
	key          []string
	columns      []record.Field
	exists, owns bool
	rights       []string // that the role lacks
}

// look connects, and hands what is there to do; missing rights are an error with the GRANTs that give them.
func (c *Config) look(ctx context.Context, do func(conn *postgres.Conn, v *view) error) error {
	conn, err := postgres.Connect(ctx, c.options("acequia check"))
	if err != nil {
		return err
	}
	v := &view{tables: map[string]known{}}
	if err = v.read(ctx, conn, c.SchemaName()); err == nil {
		err = do(conn, v)
	}
	return errors.Join(postgres.Explain(err, "look at the warehouse", c.SchemaName()), conn.Close(context.WithoutCancel(ctx)))
}

// read looks at the schemas and at the books.
func (v *view) read(ctx context.Context, c *postgres.Conn, space string) error {
	if err := soundServer(ctx, c); err != nil {
		return err
	}
	var standby, creates, mayUse, mayMake, booksUse, booksMake bool
	var database string
	err := c.QueryRow(ctx, `SELECT current_user::text, current_database()::text, pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'),
		n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false), coalesce(has_schema_privilege(n.oid, 'CREATE'), false),
		b.oid IS NOT NULL, coalesce(has_schema_privilege(b.oid, 'USAGE'), false), coalesce(has_schema_privilege(b.oid, 'CREATE'), false)
		FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1 LEFT JOIN pg_namespace b ON b.nspname = $2`, space, books).
		Scan(&v.role, &database, &standby, &creates, &v.there, &mayUse, &mayMake, &v.books, &booksUse, &booksMake)
	if err != nil {
		return err
	}
	if standby {
		return &fault.Error{Class: fault.Fatal, Code: codeName, Place: database, Err: errors.New("the server is a standby"), Remedy: "connect to the primary"}
	}
	var grants []string
	role := quote(v.role)
	if (!v.there || !v.books) && !creates {
		grants = append(grants, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", quote(database), role))
	}
	for _, s := range []struct {
		name            string
		there, use, can bool
	}{{space, v.there, mayUse, mayMake}, {books, v.books, booksUse, booksMake}} {
		if s.there && (!s.use || !s.can) {
			grants = append(grants, fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA %s TO %s", quote(s.name), role))
		}
	}
	if len(grants) > 0 {
		return postgres.Forbidden(space, fmt.Errorf("the role %s may not make its tables", v.role), grants)
	}
	if !v.books {
		return nil
	}
	return v.readBooks(ctx, c, space)
}

// readBooks looks at the tables that are there, and at the rights that merging into them needs.
func (v *view) readBooks(ctx context.Context, c *postgres.Conn, space string) error {
	var made bool
	var lacking []string
	if err := c.QueryRow(ctx, "SELECT to_regclass('acequia.tables') IS NOT NULL").Scan(&made); err != nil || !made {
		return err
	}
	for _, name := range []string{"tables", "stages", "parts"} {
		var may bool
		if err := c.QueryRow(ctx, "SELECT has_table_privilege($1, 'SELECT') AND has_table_privilege($1, 'INSERT') AND has_table_privilege($1, 'UPDATE') AND has_table_privilege($1, 'DELETE')",
			books+"."+name).Scan(&may); err != nil {
			return err
		}
		if !may {
			lacking = append(lacking, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.%s TO %s", books, name, quote(v.role)))
		}
	}
	if len(lacking) > 0 {
		return postgres.Forbidden(books, fmt.Errorf("the role %s may not keep its books", v.role), lacking)
	}
	return v.readTables(ctx, c, space)
}

// readTables looks at the tables of a schema.
func (v *view) readTables(ctx context.Context, c *postgres.Conn, space string) error {
	rows, err := c.Query(ctx, `SELECT t.id, t.table_name, t.stream, t.key, t.columns, k.oid IS NOT NULL, coalesce(pg_has_role(k.relowner, 'USAGE'), true),
		ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE k.oid IS NOT NULL AND NOT has_table_privilege(k.oid, p))
		FROM acequia.tables t LEFT JOIN pg_namespace n ON n.nspname = t.schema_name LEFT JOIN pg_class k ON k.relnamespace = n.oid AND k.relname = t.table_name
		WHERE t.schema_name = $1`, space)
	if err != nil {
		return err
	}
	var k known
	var name string
	var columns []byte
	_, err = pgx.ForEachRow(rows, []any{&k.id, &name, &k.stream, &k.key, &columns, &k.exists, &k.owns, &k.rights}, func() (err error) {
		one := k
		one.key, one.rights = slices.Clone(k.key), slices.Clone(k.rights)
		one.columns, err = schemas.DecodeColumns(columns)
		v.tables[name] = one
		return err
	})
	return err
}

// survey says what would become of the table of a schema.
func (v *view) survey(ctx context.Context, c *postgres.Conn, of *Config, s *record.Schema) (string, error) {
	name := of.TableOf(s.Stream)
	full := pgx.Identifier{of.SchemaName(), name}.Sanitize()
	k, ok := v.tables[name]
	if !ok {
		var there bool
		if err := c.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", full).Scan(&there); err != nil {
			return "", err
		}
		if there {
			return "", foreign(s.Stream, full)
		}
		return full + " is made", nil
	}
	next, changed, err := k.fits(full, s)
	switch {
	case err != nil:
		return "", err
	case len(k.rights) > 0:
		return "", postgres.Forbidden(full, fmt.Errorf("the role %s may not write the table", v.role),
			[]string{fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(k.rights, ", "), full, quote(v.role))})
	case !changed:
		return full + " is there", nil
	case !k.owns:
		return "", postgres.Forbidden(full, fmt.Errorf("the role %s does not own the table, whose columns change", v.role), []string{fmt.Sprintf("ALTER TABLE %s OWNER TO %s", full, quote(v.role))})
	}
	return strings.Join(alters(k.id, full, k.key, k.columns, next)[:1], ""), nil
}
