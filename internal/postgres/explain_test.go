package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

const secret = "s3cr3t-/:@p4ssw0rd"

// TestErrorsOfConnecting have a class, a code and a remedy, and do not show the password.
func TestErrorsOfConnecting(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, "CREATE ROLE locked LOGIN PASSWORD 'right'", "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
	hba := filepath.Join(server.Data, "pg_hba.conf")
	rules, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	rules = append([]byte("host all locked 127.0.0.1/32 scram-sha-256\nhost all barred 127.0.0.1/32 reject\n"), rules...)
	if err := server.WriteFile("pg_hba.conf", rules); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, "SELECT pg_reload_conf()")
	await(t, "the rules are read", func() bool {
		_, err := postgres.Connect(t.Context(), postgres.Options{DSN: strings.Replace(dsn, "postgres@", "barred@", 1)})
		return fault.Code(err) == "ACQ-PG-003"
	})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	as := func(role string) string { return strings.Replace(dsn, "postgres@", role+"@", 1) }
	password := "locked:" + url.QueryEscape(secret)
	for name, c := range map[string]struct {
		dsn, code string
		class     fault.Class
		says      string
	}{
		"wrong password":       {as(password), "ACQ-PG-003", fault.Fatal, "password"},
		"barred by a rule":     {as("barred"), "ACQ-PG-003", fault.Fatal, "pg_hba.conf"},
		"unknown database":     {server.DSN("nowhere"), "ACQ-PG-004", fault.Fatal, "database"},
		"too many connections": {as("crowd"), "ACQ-PG-008", fault.Retryable, "CONNECTION LIMIT"},
		"nobody listens":       {fmt.Sprintf("host=127.0.0.1 port=%d user=locked password='%s' sslmode=disable", closed, secret), "ACQ-PG-002", fault.Retryable, "listens"},
		"no TLS":               {strings.Replace(as(password), "sslmode=disable", "sslmode=require", 1), "ACQ-PG-009", fault.Fatal, "sslmode"},
		"port is no number":    {"postgres://u:" + secret + "@host:x/db", "ACQ-PG-011", fault.Fatal, "dsn"},
		"sslmode is unknown":   {"host=127.0.0.1 password=" + secret + " sslmode=perhaps", "ACQ-PG-011", fault.Fatal, "sslmode"},
		"no key=value":         {"password " + secret, "ACQ-PG-011", fault.Fatal, "key=value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := postgres.Connect(t.Context(), postgres.Options{DSN: c.dsn})
			if fault.Code(err) != c.code || fault.Of(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "p4ssw0rd") {
				t.Errorf("it shows the password: %v", err)
			}
		})
	}
}

func TestErrorsOfStatements(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, "CREATE TABLE t (i int)", "CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA")
	holder := connect(t, dsn)
	if _, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE t"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sql, code string
		class     fault.Class
		says      string
	}{
		"table is gone":      {"SELECT * FROM gone", "ACQ-PG-010", fault.Retryable, "dropped or renamed"},
		"column is gone":     {"SELECT x FROM m", "ACQ-PG-010", fault.Retryable, "dropped or renamed"},
		"never filled":       {"SELECT * FROM m", "ACQ-PG-001", fault.Fatal, "REFRESH"},
		"statement timeout":  {"SELECT pg_sleep(100)", "ACQ-PG-006", fault.Retryable, "statement_timeout"},
		"lock timeout":       {"SELECT * FROM t", "ACQ-PG-007", fault.Retryable, "ALTER TABLE"},
		"server shuts down":  {"SELECT pg_terminate_backend(pg_backend_pid())", "ACQ-PG-002", fault.Retryable, "shutting down"},
		"somebody cancelled": {"SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)", "ACQ-PG-006", fault.Retryable, "cancelled"},
		"wrong SQL":          {"SELEKT", "ACQ-PG-001", fault.Fatal, "syntax"},
		"a COPY":             {"COPY m TO STDOUT", "", fault.Fatal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := postgres.Connect(t.Context(), postgres.Options{DSN: dsn, Statement: 500 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(t.Context()) }()
			if _, err := conn.Exec(t.Context(), "SET lock_timeout = '50ms'"); err != nil {
				t.Fatal(err)
			}
			err = conn.Stream(t.Context(), c.sql, nil, func([][]byte) error { return nil })
			if err == nil || c.code != "" && fault.Code(err) != c.code || fault.Of(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	if err := postgres.Explain(context.Canceled, "x", "y"); err != context.Canceled { //nolint:errorlint // as it is
		t.Error(err)
	}
	twice := postgres.Explain(postgres.Explain(context.DeadlineExceeded, "read rows", "t"), "once more", "u")
	if strings.Contains(twice.Error(), "once more") || fault.Of(twice) != fault.Retryable {
		t.Error(twice)
	}
}

// FuzzDSN looks for a password in what Connect says of a dsn.
func FuzzDSN(f *testing.F) {
	for _, s := range []string{
		"postgres://u:%s@127.0.0.1:1/db?connect_timeout=1", "postgres://u:%s@h:x/db", "password=%s host=/nowhere", "password='%s", "postgres://u:%s@[::1/db", "%s",
		"postgres://127.0.0.1:1/?password=%s&sslmode=x", "user=u password=%s port=%s", "host=%s\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, form string) {
		if strings.Contains(form, "http") || strings.Count(form, "%s") != 1 {
			return
		}
		const password = "zqXvKw7Jp"
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is dialled
		_, err := postgres.Connect(ctx, postgres.Options{DSN: strings.Replace(form, "%s", password, 1)})
		if err != nil && strings.Contains(err.Error(), password) && (strings.HasPrefix(form, "password=%s") || strings.HasPrefix(form, "postgres://u:%s@")) {
			t.Errorf("%q shows the password: %v", form, err)
		}
	})
}
