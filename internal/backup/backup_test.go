package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// The servers that the tests share; each test has databases of its own.
var (
	server *postgrestest.Server
	maria  *mysqltest.Server
	mongo  *mongodbtest.Server
)

func TestMain(m *testing.M) { os.Exit(tested(m)) }

func tested(m *testing.M) int {
	var starting sync.WaitGroup
	errs := make([]error, 3)
	starting.Go(func() { server, errs[0] = postgrestest.Start() })
	starting.Go(func() { maria, errs[1] = mysqltest.Start() })
	starting.Go(func() { mongo, errs[2] = mongodbtest.Start() })
	starting.Wait()
	code := 1
	if err := errors.Join(errs...); err == nil {
		code = m.Run()
	}
	for i, s := range []io.Closer{server, maria, mongo} {
		if errs[i] == nil {
			errs[i] = s.Close()
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		err = goleak.Find()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// database makes a source of a database.
func database(t *testing.T, dsn string, tables ...string) backup.Database {
	t.Helper()
	if len(tables) == 0 {
		tables = []string{"*.*"}
	}
	s, err := postgres.New(postgres.Config{DSN: config.Secret(dsn), Tables: tables}, sources.Host{Pipeline: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return backup.Database{Name: "shop", Source: s}
}

func open(t *testing.T, root string, o backup.Options) *backup.Store {
	t.Helper()
	s, err := backup.Open(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func shop(t *testing.T) string {
	t.Helper()
	sql, err := os.ReadFile("testdata/shop.sql")
	if err != nil {
		t.Fatal(err)
	}
	return server.Database(t, string(sql))
}

func create(t *testing.T, s *backup.Store, d backup.Database, tables ...string) *backup.Backup {
	t.Helper()
	b, err := s.Create(t.Context(), d, backup.CreateOptions{Tables: tables})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// queried gives the rows of a statement as texts.
func queried(t *testing.T, dsn, sql string) []string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	rows, err := c.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dumped gives what pg_dump says of a database: the definitions, in order, without what names the database and the dump.
func dumped(t *testing.T, dsn string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pg_dump", "--schema-only", "--no-owner", "--no-comments", "-d", dsn).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for statement := range strings.SplitSeq(string(out), ";\n") {
		var kept []string
		for line := range strings.SplitSeq(statement, "\n") {
			if line != "" && !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, `\`) {
				kept = append(kept, line)
			}
		}
		if len(kept) > 0 && !strings.HasPrefix(kept[0], "SET ") && !strings.HasPrefix(kept[0], "SELECT ") {
			all = append(all, strings.Join(kept, "\n"))
		}
	}
	slices.Sort(all)
	return all
}

// contents gives every row of every table as the server prints it, and where sequences stand.
func contents(t *testing.T, dsn string) []string {
	t.Helper()
	var out []string
	tables := queried(t, dsn, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema') order by 1`)
	for _, table := range tables {
		for _, row := range queried(t, dsn, "select t::text from "+table+" t order by t::text collate \"C\"") {
			out = append(out, table+" "+row)
		}
	}
	return append(out, queried(t, dsn, "select concat_ws(' ', schemaname, sequencename, last_value) from pg_sequences order by 1")...)
}

// TestARestoredDatabaseIsTheSame makes a backup of a database with what tables can have, in each format, and restores it into an empty
// one: rows, definitions as pg_dump tells them, and sequences are equal.
func TestARestoredDatabaseIsTheSame(t *testing.T) {
	t.Parallel()
	from := shop(t)
	want, defined := contents(t, from), dumped(t, from)
	key := identity(t)
	for name, o := range map[string]backup.Options{
		"parquet": {}, "ndjson": {Format: backup.NDJSON},
		"parquet, encrypted": {Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
		"ndjson, encrypted":  {Format: backup.NDJSON, Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			s := open(t, root, o)
			made := create(t, s, database(t, from))
			if !made.Consistent || made.Position["snapshot"] == "" || made.Rows != 500+3000+600+3+101 {
				t.Errorf("the backup is %+v", made)
			}
			verified, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: new(database(t, from))})
			if err != nil || !verified.Whole || verified.Equal == nil || !*verified.Equal {
				t.Errorf("it is verified as %+v, %v", verified, err)
			}
			to := server.Database(t)
			into := database(t, to)
			restored, err := s.Restore(t.Context(), backup.Latest, backup.Filter{}, into, backup.RestoreOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if restored.ID != made.ID || restored.Rows != made.Rows {
				t.Errorf("restored %+v", restored)
			}
			if got := contents(t, to); !slices.Equal(want, got) {
				t.Error(cmp.Diff(want, got))
			}
			missing := differing(defined, dumped(t, to))
			if diff := cmp.Diff(notRestored(), missing); diff != "" {
				t.Errorf("definitions differ beyond what is said: %s", diff)
			}
			if diff := cmp.Diff(notKept(), restored.NotKept); diff != "" {
				t.Errorf("what is not kept: %s", diff)
			}
			plain := bytes.Contains(allBytes(t, root), []byte("@example.com"))
			if plain && len(o.Recipients) > 0 {
				t.Error("an encrypted backup shows rows")
			}
			verified, err = s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: &into})
			if err != nil || !*verified.Equal {
				t.Errorf("against the restored database it is %+v, %v", verified, err)
			}
		})
	}
}

// differing gives the statements of one side alone, marked.
func differing(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, "- "+strings.Fields(s)[1]+" "+strings.Fields(s)[2])
		}
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			out = append(out, "+ "+strings.Fields(s)[1]+" "+strings.Fields(s)[2])
		}
	}
	return out
}

// notRestored are the statements of testdata/shop.sql that a restored database lacks, or has otherwise: the default of a column that
// calls a function is gone.
func notRestored() []string {
	return []string{
		"- FUNCTION public.clean(text)", "- FUNCTION public.tell()", "- INDEX users_by_clean", "- TABLE public.users", "- TRIGGER told", "- VIEW public.looks",
		"+ TABLE public.users",
	}
}

// notKept is how the backup says it.
func notKept() []string {
	return []string{
		`view "public"."looks"`, `default of "public"."users"."cleaned": it calls public.clean(text)`,
		"CREATE INDEX users_by_clean ON public.users USING btree (public.clean(email)): it calls public.clean(text)",
		"1 comments of public.users", "2 functions of schema public", "trigger told of public.users",
	}
}

// allBytes is all that stands in files of a folder.
func allBytes(t *testing.T, root string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
