package postgres_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// TestSecure has a dsn of each kind. Nothing is connected to.
func TestSecure(t *testing.T) {
	for dsn, why := range map[string]string{
		"postgres://u@127.0.0.1/db":                            "",
		"postgres://u@127.3.2.1/db?sslmode=disable":            "",
		"postgres://u@[::1]:5433/db?sslmode=disable":           "",
		"postgres://u@localhost/db?sslmode=disable":            "",
		"host=/var/run/postgresql user=u sslmode=disable":      "",
		"postgres://u@db.example/db":                           "", // verify-full is put in
		"postgres://u@db.example/db?connect_timeout=3":         "",
		"host=db.example user=u":                               "",
		"postgres://u@db.example/db?sslmode=verify-full":       "",
		"postgres://u@127.0.0.1,db.example/db":                 "",
		"postgres://u@db.example/db?sslmode=disable":           "db.example",
		"postgres://u@db.example/db?sslmode=allow":             "db.example",
		"postgres://u@db.example/db?sslmode=prefer":            "db.example",
		"postgres://u@db.example/db?sslmode=require":           "db.example", // encrypted, by whoever answers
		"postgres://u@db.example/db?sslmode=verify-ca":         "db.example", // any host of the authority
		"postgres://u@10.0.0.7/db?sslmode=disable":             "10.0.0.7",
		"host=localhost,db.example user=u sslmode=disable":     "db.example",
		"host=db.example user=u password=x sslmode=prefer":     "db.example",
		"postgres://u@localhost.example/db?sslmode=disable":    "localhost.example",
		"postgres://u:secret@db.example/db?sslmode=disable&x=": "db.example",
	} {
		err := postgres.Secure(dsn)
		switch {
		case why == "" && err != nil:
			t.Errorf("%s: %v", dsn, err)
		case why == "":
		case fault.Code(err) != "ACQ-PG-009" || !strings.Contains(err.Error(), "to "+why+" "):
			t.Errorf("%s gave %v, want a refusal that names %s", dsn, err, why)
		case strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the password is told", dsn)
		}
	}
	t.Setenv("PGSSLMODE", "disable")
	if err := postgres.Secure("postgres://u@db.example/db"); fault.Code(err) != "ACQ-PG-009" {
		t.Errorf("PGSSLMODE=disable gave %v", err)
	}
}
