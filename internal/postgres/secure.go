package postgres

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
)

// Secure says whether a DSN leads off loopback by TLS alone, whose certificate and host name are verified; it connects to nothing.
// Without an sslmode of its own, or of PGSSLMODE, a DSN that leads off loopback is taken with verify-full.
func Secure(dsn string) error {
	_, err := parse(Options{DSN: dsn, Verified: true})
	return err
}

// parse reads the dsn.
func parse(o Options) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(o.DSN)
	if err != nil {
		return nil, explainDSN(err)
	}
	if !o.Verified {
		return cfg, nil
	}
	bare := exposed(cfg)
	if bare != "" && os.Getenv("PGSSLMODE") == "" && !strings.Contains(o.DSN, "sslmode") {
		if cfg, err = pgx.ParseConfig(withMode(o.DSN)); err != nil {
			return nil, explainDSN(err)
		}
		bare = exposed(cfg)
	}
	if bare != "" {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: codeTLS, Place: "dsn", Err: fmt.Errorf("the connection to %s would not be verified: its sslmode is weaker than verify-full", bare),
			Remedy: "write sslmode=verify-full, and sslrootcert=FILE for a certificate authority of your own; only loopback does without",
		}
	}
	return cfg, nil
}

// withMode adds an sslmode to a dsn that has none.
func withMode(dsn string) string {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " sslmode=verify-full"
	}
	if strings.Contains(dsn, "?") {
		return dsn + "&sslmode=verify-full"
	}
	return dsn + "?sslmode=verify-full"
}

// exposed names a host off loopback to which a connection would be tried whose certificate and host name nobody verifies, or "".
func exposed(cfg *pgx.ConnConfig) string {
	open := func(host string, c *tls.Config) bool {
		return !local(host) && (c == nil || c.InsecureSkipVerify || c.ServerName == "")
	}
	if open(cfg.Host, cfg.TLSConfig) {
		return cfg.Host
	}
	for _, f := range cfg.Fallbacks {
		if open(f.Host, f.TLSConfig) {
			return f.Host
		}
	}
	return ""
}

// local says whether a host is this machine: a socket of the file system, or loopback.
func local(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Where names the server and the database of a dsn, without who connects: the same for the same place.
func Where(dsn string) (string, error) {
	cfg, err := parse(Options{DSN: dsn})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres://%s/%s", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), cfg.Database), nil
}
