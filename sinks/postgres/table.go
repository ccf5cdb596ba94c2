package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// The codes of what is wrong with a table.
const (
	codeShared  = "ACQ-WH-010" // two streams would be one table
	codeEvolve  = "ACQ-WH-011" // its columns cannot become what the stream has
	codeForeign = "ACQ-WH-012" // a table of that name is not acequia's
	codeKey     = "ACQ-WH-013" // it has another key
	codeName    = "ACQ-WH-014" // a name or key that PostgreSQL cannot have
	codeGone    = "ACQ-WH-015" // somebody has dropped it
)

// books is the schema of what acequia remembers of its tables: it holds no records but those that are staged.
const books = "acequia"

// bookkeeping makes the books. Tables have one row each; its lock is held by who merges into it. Parts are what was published.
const bookkeeping = `
CREATE TABLE acequia.tables (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, schema_name text NOT NULL, table_name text NOT NULL, stream text NOT NULL,
	key text[] NOT NULL, columns json NOT NULL, floor text COLLATE "C" NOT NULL DEFAULT '', UNIQUE (schema_name, table_name));
CREATE TABLE acequia.stages (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_id bigint NOT NULL, pipeline text NOT NULL, lane text NOT NULL, epoch bigint NOT NULL,
	columns text[] NOT NULL, rows bigint NOT NULL, ordered boolean NOT NULL, absent boolean NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE acequia.parts (
	pipeline text, lane text, grp bigint, part text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, lane, grp, part));`

// lockBooks lets one process at a time make something.
const lockBooks = "SELECT pg_advisory_xact_lock(hashtextextended('acequia ' || $1, 0))"

// The columns of every table beside its own. What the records of a table have in common, such as their source, is not kept a row.
const (
	opColumn      = schemas.OpColumn
	versionColumn = schemas.VersionColumn
	absentColumn  = "_absent"    // of a stage: the columns that the source did not send
	numberColumn  = "_acequia_n" // of a statement: which copy of its key a row is
)

// systemColumns are those behind the columns of a table.
func systemColumns() []record.Field {
	return []record.Field{
		{Name: schemas.OpColumn, Kind: record.String},
		{Name: schemas.VersionColumn, Kind: record.VersionText},
		{Name: schemas.EventIDColumn, Kind: record.String, Nullable: true},
		{Name: schemas.EventTimeColumn, Kind: record.Timestamp},
		{Name: schemas.IngestColumn, Kind: record.Timestamp},
	}
}

// table is what the sink knows of the table of a stream with one schema.
type table struct {
	id     int64
	schema *record.Schema
	name   string   // schema.table, as SQL takes it
	order  []int    // the columns of a stage: those of the key, in its order, then the others
	staged []string // the names of the columns of a stage
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func quoted(names []string, before string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = before + quote(n)
	}
	return strings.Join(out, ", ")
}

func stageName(id int64) string   { return fmt.Sprintf("%s.stage_%d", books, id) }
func deletesName(id int64) string { return fmt.Sprintf("%s.deletes_%d", books, id) }
func pendingName(id int64) string { return fmt.Sprintf("%s.pending_%d", books, id) }

// prepare makes the schemas and the books, once a process.
func (s *Sink) prepare(ctx context.Context) error {
	s.making.Lock()
	defer s.making.Unlock()
	if s.ready {
		return nil
	}
	err := s.with(ctx, func(c *postgres.Conn) error {
		if err := soundServer(ctx, c); err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockBooks, "books"); err != nil {
				return err
			}
			for _, name := range []string{s.config.Schema, books} {
				if err := unless(ctx, tx, "to_regnamespace(quote_ident($1))", name, "CREATE SCHEMA "+quote(name)); err != nil {
					return err
				}
			}
			return unless(ctx, tx, "to_regclass($1)", books+".tables", bookkeeping)
		})
	})
	s.ready = err == nil
	return err
}

// unless makes what is not there. CREATE … IF NOT EXISTS wants the right to make it, also where it is there.
func unless(ctx context.Context, tx pgx.Tx, find, name, sql string) error {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT "+find+" IS NOT NULL", name).Scan(&there); err != nil || there {
		return err
	}
	_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// soundServer refuses a server that cannot hold every text.
func soundServer(ctx context.Context, c *postgres.Conn) error {
	var encoding string
	if err := c.QueryRow(ctx, "SHOW server_encoding").Scan(&encoding); err != nil {
		return err
	}
	if encoding == "UTF8" {
		return nil
	}
	return &fault.Error{
		Class: fault.Fatal, Code: codeName, Place: c.Config().Database, Err: fmt.Errorf("the database has the encoding %s, which cannot hold every text", encoding),
		Remedy: "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
	}
}

// table finds the table of a schema, and makes it, or lets its columns evolve, before any record may have them.
func (s *Sink) table(ctx context.Context, schema *record.Schema) (*table, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	s.making.Lock()
	defer s.making.Unlock()
	for _, t := range s.tables[schema.Stream] {
		if t.schema == schema || t.schema.ID() == schema.ID() {
			return t, nil
		}
	}
	name := s.config.TableOf(schema.Stream)
	for stream := range s.tables {
		if stream != schema.Stream && s.config.TableOf(stream) == name {
			return nil, shared(schema.Stream, stream, name)
		}
	}
	if err := nameable(schema, name); err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: codeName, Place: schema.Stream, Err: err, Remedy: "rename or leave out the column, or name the table with table_name"}
	}
	t := &table{schema: schema, name: pgx.Identifier{s.config.Schema, name}.Sanitize()}
	t.order = append(t.order, schema.Key...)
	for i := range schema.Fields {
		if !slices.Contains(schema.Key, i) {
			t.order = append(t.order, i)
		}
	}
	t.staged = append(t.staged, opColumn, versionColumn)
	for _, i := range t.order {
		t.staged = append(t.staged, schema.Fields[i].Name)
	}
	t.staged = append(t.staged, schemas.EventIDColumn, schemas.EventTimeColumn, schemas.IngestColumn)
	err := s.with(ctx, func(c *postgres.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) (err error) {
			t.id, err = ensure(ctx, tx, s.config.Schema, name, schema)
			return explain(err, "make or alter "+t.name, schema.Stream)
		})
	})
	if err != nil {
		return nil, err
	}
	s.tables[schema.Stream] = append(s.tables[schema.Stream], t)
	return t, nil
}

func shared(stream, other, name string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: codeShared, Place: stream, Err: fmt.Errorf("streams %s and %s would both be the table %s", other, stream, name),
		Remedy: "give one of them another name with table_name",
	}
}

// columnsOf gives the columns that the table of a schema has: those of the key are never null, all others may be, whatever the schema
// says, so that a NOT NULL that comes or goes changes nothing.
func columnsOf(schema *record.Schema) []record.Field {
	out := slices.Clone(schema.Fields)
	for i := range out {
		out[i].Nullable = !slices.Contains(schema.Key, i)
	}
	return out
}

// ensure gives the number of a table, which is there then, with all columns of the schema.
func ensure(ctx context.Context, tx pgx.Tx, space, name string, schema *record.Schema) (id int64, err error) {
	full := pgx.Identifier{space, name}.Sanitize()
	if _, err := tx.Exec(ctx, lockBooks, full); err != nil {
		return 0, err
	}
	var k known
	var text []byte
	if err = tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", full).Scan(&k.exists); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, "SELECT id, stream, key, columns FROM acequia.tables WHERE schema_name = $1 AND table_name = $2", space, name).Scan(&k.id, &k.stream, &k.key, &text)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && k.exists:
		return 0, foreign(schema.Stream, full)
	case errors.Is(err, pgx.ErrNoRows):
		return create(ctx, tx, space, name, schema)
	case err != nil:
		return 0, err
	}
	if k.columns, err = schemas.DecodeColumns(text); err != nil {
		return 0, err
	}
	next, changed, err := k.fits(full, schema)
	if err != nil || !changed {
		return k.id, err
	}
	if text, err = schemas.EncodeColumns(next); err != nil {
		return 0, err
	}
	for _, sql := range alters(k.id, full, k.key, k.columns, next) {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	_, err = tx.Exec(ctx, "UPDATE acequia.tables SET columns = $2 WHERE id = $1", k.id, json.RawMessage(text))
	return k.id, err
}

func foreign(stream, full string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: codeForeign, Place: stream, Err: fmt.Errorf("there is a table %s, and acequia has not made it", full),
		Remedy: "name another one with table_name, or another schema",
	}
}

// fits gives the columns of a table with those of a schema, or says why it cannot be the table of the schema.
func (k *known) fits(full string, schema *record.Schema) (next []record.Field, changed bool, err error) {
	refuse := func(code string, err error, remedy string) ([]record.Field, bool, error) {
		return nil, false, &fault.Error{Class: fault.Fatal, Code: code, Place: schema.Stream, Err: err, Remedy: remedy}
	}
	switch {
	case !k.exists:
		return refuse(codeGone, fmt.Errorf("the table %s was dropped or renamed, and its records are not sent again by themselves", full),
			fmt.Sprintf("bring it back; or DELETE FROM acequia.tables WHERE id = %d, and read the stream anew: acequia backfill", k.id))
	case k.stream != schema.Stream:
		return nil, false, shared(schema.Stream, k.stream, full)
	case !slices.Equal(k.key, schema.KeyNames()):
		return refuse(codeKey, fmt.Errorf("the key of %s is (%s), and that of the stream (%s)", full, strings.Join(k.key, ", "), strings.Join(schema.KeyNames(), ", ")),
			"give the table a new name with table_name, or keep its key")
	}
	if next, changed, err = schemas.EvolveColumns(k.columns, columnsOf(schema)); err != nil {
		return refuse(codeEvolve, fmt.Errorf("table %s, %w", full, err), "cast the column, or give the table a new name with table_name")
	}
	return next, changed, nil
}

// create makes a table, and what is remembered beside it.
func create(ctx context.Context, tx pgx.Tx, space, name string, schema *record.Schema) (id int64, err error) {
	key := schema.KeyNames()
	if key == nil {
		key = []string{}
	}
	text, err := schemas.EncodeColumns(columnsOf(schema))
	if err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, "INSERT INTO acequia.tables (schema_name, table_name, stream, key, columns) VALUES ($1, $2, $3, $4, $5) RETURNING id",
		space, name, schema.Stream, key, json.RawMessage(text)).Scan(&id)
	if err != nil {
		return 0, err
	}
	for _, sql := range creates(id, pgx.Identifier{space, name}.Sanitize(), schema) {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return 0, err
		}
	}
	return id, nil
}

// definition is a column as CREATE TABLE takes it.
func definition(f *record.Field, key bool) string {
	text := quote(f.Name) + " " + postgres.TypeOf(f, key)
	if !f.Nullable {
		text += " NOT NULL"
	}
	return text
}

// creates are the statements that make a table. That of its deletes holds the versions of keys that are gone; that of a table without
// a key holds snapshots that are not complete.
func creates(id int64, full string, schema *record.Schema) []string {
	var all, key []string
	for i, f := range columnsOf(schema) {
		all = append(all, definition(&f, slices.Contains(schema.Key, i)))
	}
	system := systemColumns()
	for i := range system {
		all = append(all, definition(&system[i], false))
	}
	body := strings.Join(all, ", ")
	if len(schema.Key) == 0 {
		return []string{
			fmt.Sprintf("CREATE TABLE %s (%s)", full, body),
			fmt.Sprintf("CREATE INDEX ON %s (%s)", full, quote(versionColumn)),
			fmt.Sprintf("CREATE INDEX ON %s (%s) WHERE %[2]s IS NOT NULL", full, quote(schemas.EventIDColumn)),
			fmt.Sprintf("CREATE TABLE %s (%s)", pendingName(id), body),
		}
	}
	for _, i := range schema.Key {
		f := schema.Fields[i]
		f.Nullable = false
		key = append(key, definition(&f, true))
	}
	names := quoted(schema.KeyNames(), "")
	return []string{
		fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s))", full, body, names),
		fmt.Sprintf("CREATE TABLE %s (%s, %s, PRIMARY KEY (%s))", deletesName(id), strings.Join(key, ", "), definition(&system[1], false), names),
	}
}

// alters are the statements that give a table its new columns and wider types.
func alters(id int64, full string, key []string, old, next []record.Field) []string {
	var all, ofKey []string
	for i := range next {
		f := &next[i]
		of := slices.Contains(key, f.Name)
		if i >= len(old) {
			all = append(all, "ADD COLUMN "+definition(f, of))
			continue
		}
		if postgres.TypeOf(f, of) == postgres.TypeOf(&old[i], of) {
			continue
		}
		change := fmt.Sprintf("ALTER COLUMN %s TYPE %s", quote(f.Name), postgres.TypeOf(f, of))
		all = append(all, change)
		if of {
			ofKey = append(ofKey, change)
		}
	}
	var out []string
	add := func(name string, changes []string) {
		if len(changes) > 0 {
			out = append(out, fmt.Sprintf("ALTER TABLE %s %s", name, strings.Join(changes, ", ")))
		}
	}
	add(full, all)
	if len(key) == 0 {
		add(pendingName(id), all)
	} else {
		add(deletesName(id), ofKey)
	}
	return out
}

// longestName is NAMEDATALEN less one: the server cuts what is longer, and two names may become one.
const longestName = 63

// nameable says why a schema can be no table.
func nameable(schema *record.Schema, name string) error {
	if name == "" || len(name) > longestName {
		return fmt.Errorf("a table cannot be called %q: PostgreSQL has names of 1 to %d bytes", name, longestName)
	}
	system := systemColumns()
	for i := range schema.Fields {
		f := &schema.Fields[i]
		switch {
		case len(f.Name) > longestName:
			return fmt.Errorf("column %s: PostgreSQL has names of at most %d bytes", f.Name, longestName)
		case slices.Contains([]string{"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}, f.Name):
			return fmt.Errorf("column %s: every table of PostgreSQL has a column of that name", f.Name)
		case f.Name == absentColumn || f.Name == numberColumn || slices.ContainsFunc(system, func(s record.Field) bool { return s.Name == f.Name }):
			return fmt.Errorf("column %s: acequia adds one of that name", f.Name)
		case slices.Contains(schema.Key, i) && (f.Kind == record.List || f.Kind == record.Struct):
			return fmt.Errorf("column %s: a %s cannot be of a key", f.Name, f.Kind)
		}
	}
	return nil
}
