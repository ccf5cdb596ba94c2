// Package postgres reads PostgreSQL: connections, the catalog, and rows as columns of batches.
//
// Only this package and the plugins of PostgreSQL import its drivers.
package postgres

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/acequia-io/acequia/fault"
)

const (
	// closeTimeout is how long the server may take to hear that a connection ends.
	closeTimeout = 2 * time.Second
	// lockTimeout is how long a statement waits for a lock, such as that of an ALTER TABLE.
	lockTimeout = 10 * time.Second
	// logBuffer is how much one read of the log takes.
	logBuffer = 256 << 10
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
	"row_security":                        "off", // a policy that would hide rows is an error
}

// waits lets a session wait between two polls, and read for long, whatever its role or database is set to. Older servers lack the settings.
const waits = `SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')`

// Options say how to connect.
type Options struct {
	DSN         string        // as libpq takes it, a URL or key=value; what it leaves out comes from PGHOST and so on
	Application string        // application_name; "" is acequia
	Statement   time.Duration // statement_timeout; 0 is none
	Replication bool          // a connection of the replication protocol, to the DSN's database
	Verified    bool          // off loopback only by TLS whose certificate and host name are verified: see Secure
}

// Conn is a connection whose session reads values the same everywhere. It is for one goroutine at a time.
type Conn struct {
	*pgx.Conn
	buf []byte // for the rows of Stream
}

// Connect opens a connection. Its errors are explained, and never show the password.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	cfg, err := configure(o)
	if err != nil {
		return nil, err
	}
	if o.Replication {
		cfg.RuntimeParams["replication"] = "database"
		cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { // the log comes in many small pieces, one a change
			return pgproto3.NewFrontend(bufio.NewReaderSize(r, logBuffer), w)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, Explain(err, "connect", cfg.Host)
	}
	c := &Conn{Conn: conn}
	if !o.Replication {
		if _, err := conn.PgConn().Exec(ctx, waits).ReadAll(); err != nil {
			return nil, errors.Join(Explain(err, "set the timeouts", cfg.Database), c.Close(ctx))
		}
	}
	if c.anyBytes() { // it could not convert what is no UTF-8, and would refuse whole statements for one row
		if _, err := conn.PgConn().Exec(ctx, "SET client_encoding = SQL_ASCII").ReadAll(); err != nil {
			return nil, errors.Join(Explain(err, "set the encoding", cfg.Database), c.Close(ctx))
		}
	}
	return c, nil
}

// configure reads the options, with the settings of every session.
func configure(o Options) (*pgx.ConnConfig, error) {
	cfg, err := parse(o)
	if err != nil {
		return nil, err
	}
	maps.Copy(cfg.RuntimeParams, settings)
	cfg.RuntimeParams["application_name"] = cmp.Or(o.Application, "acequia")
	cfg.RuntimeParams["statement_timeout"] = strconv.FormatInt(o.Statement.Milliseconds(), 10)
	// A server that is gone without a word is noticed within a minute.
	cfg.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4}}).DialContext
	return cfg, nil
}

// anyBytes says whether the database takes any bytes as text.
func (c *Conn) anyBytes() bool { return c.PgConn().ParameterStatus("server_encoding") == "SQL_ASCII" }

// Idle says whether it waits for statements, in no transaction.
func (c *Conn) Idle() bool { return !c.IsClosed() && c.PgConn().TxStatus() == 'I' }

// Close ends the connection: at once when ctx is over, else after telling the server.
func (c *Conn) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := c.Conn.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fault.Retry(err)
	}
	return nil
}
