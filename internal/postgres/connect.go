// Package postgres reads PostgreSQL: connections, the catalog, and rows as columns of batches.
//
// Only this package and the plugins of PostgreSQL import its drivers.
package postgres

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
)

const (
	// closeTimeout is how long the server may take to hear that a connection ends.
	closeTimeout = 2 * time.Second
	// lockTimeout is how long a statement waits for a lock, such as that of an ALTER TABLE.
	lockTimeout = 10 * time.Second
)

// settings are those of every session, so that a value has one text whoever asks: a query, a poll or the log.
var settings = map[string]string{ //nolint:gochecknoglobals // a constant table
	"client_encoding":                     "UTF8",
	"TimeZone":                            "UTC",
	"DateStyle":                           "ISO, YMD",
	"IntervalStyle":                       "iso_8601",
	"extra_float_digits":                  "3",
	"bytea_output":                        "hex",
	"xmloption":                           "content",
	"idle_in_transaction_session_timeout": "0",
	"lock_timeout":                        strconv.FormatInt(lockTimeout.Milliseconds(), 10),
	"default_transaction_isolation":       "read committed",
}

// Options say how to connect.
type Options struct {
	DSN         string        // as libpq takes it, a URL or key=value; what it leaves out comes from PGHOST and so on
	Application string        // application_name; "" is acequia
	Statement   time.Duration // statement_timeout; 0 is none
	Replication bool          // a connection of the replication protocol, to the DSN's database
}

// Conn is a connection whose session reads values the same everywhere. It is for one goroutine at a time.
type Conn struct {
	*pgx.Conn
	buf []byte // for the rows of Stream
}

// Connect opens a connection. Its errors are explained, and never show the password.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	cfg, err := pgx.ParseConfig(o.DSN)
	if err != nil {
		return nil, Explain(err, "read the dsn", "dsn")
	}
	application := o.Application
	if application == "" {
		application = "acequia"
	}
	maps.Copy(cfg.RuntimeParams, settings)
	cfg.RuntimeParams["application_name"] = application
	cfg.RuntimeParams["statement_timeout"] = strconv.FormatInt(o.Statement.Milliseconds(), 10)
	if o.Replication {
		cfg.RuntimeParams["replication"] = "database"
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, Explain(err, "connect", cfg.Host)
	}
	return &Conn{Conn: conn}, nil
}

// Close ends the connection: at once when ctx is over, else after telling the server.
func (c *Conn) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := c.Conn.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fault.Retry(err)
	}
	return nil
}
