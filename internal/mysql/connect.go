// Package mysql reads MySQL and MariaDB: connections, the catalog, and rows as columns of batches.
//
// Only this package and the plugins of MySQL import its drivers.
package mysql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

const (
	// connectTimeout is how long a server may take to let a session in.
	connectTimeout = 3 * time.Second
	// closeTimeout is how long the server may take to hear that a connection ends.
	closeTimeout = 2 * time.Second
	// lockTimeout is how long a statement waits for a table that is being altered, in seconds.
	lockTimeout = 10
)

// settings are those of every session, so that a value has one text whoever asks: a query, a poll or the log. A server ends a session
// that reads slowly or waits between two polls after net_write_timeout and wait_timeout, which may be short.
var settings = []string{ //nolint:gochecknoglobals // a constant table
	"SET NAMES utf8mb4",
	"SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', lock_wait_timeout = " + strconv.Itoa(lockTimeout) +
		", wait_timeout = 86400, net_write_timeout = 3600, net_read_timeout = 3600, sql_select_limit = DEFAULT, sql_big_selects = 1, autocommit = 1",
}

// Options say how to connect.
type Options struct {
	DSN         string // mysql://user:password@host:port/database
	Application string // what the server calls the program; "" is acequia
}

// Conn is a connection whose session reads values the same everywhere. It is for one goroutine at a time.
type Conn struct {
	*client.Conn
	Flavor Flavor

	dsn    string
	at     address
	buf    []byte // for the rows of Stream
	closed bool
}

// Flavor is whose server it is.
type Flavor byte

// The flavors.
const (
	MySQL Flavor = iota
	MariaDB
)

// String names the flavor.
func (f Flavor) String() string {
	if f == MariaDB {
		return "MariaDB"
	}
	return "MySQL"
}

// Connect opens a connection. Its errors are explained, and never show the password.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	at, err := parseDSN(o.DSN)
	if err != nil {
		return nil, err
	}
	conn, err := open(ctx, at, o.Application)
	if err != nil && at.plain && noTLS(err) {
		at.tls = nil
		conn, err = open(ctx, at, o.Application)
	}
	if err != nil {
		return nil, Explain(err, "connect", at.host)
	}
	c := &Conn{Conn: conn, dsn: o.DSN, at: at}
	if strings.Contains(conn.GetServerVersion(), "MariaDB") {
		c.Flavor = MariaDB
	}
	limit := "SET SESSION max_execution_time = 0"
	if c.Flavor == MariaDB {
		limit = "SET SESSION max_statement_time = 0"
	}
	for _, sql := range append(settings, limit) {
		if err := c.Exec(ctx, sql); err != nil {
			return nil, errors.Join(Explain(err, "set the session", at.host), c.Close(ctx))
		}
	}
	return c, nil
}

// open makes a session. A server that is gone without a word is noticed within a minute.
func open(ctx context.Context, at address, application string) (*client.Conn, error) {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4}}
	var stop func() bool
	over := make(chan struct{})
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		stop = context.AfterFunc(ctx, func() {
			_ = conn.SetDeadline(time.Unix(1, 0)) // in the past: what is being read returns
			close(over)
		})
		return conn, conn.SetDeadline(time.Now().Add(connectTimeout))
	}
	conn, err := client.ConnectWithDialer(ctx, "", at.host, at.user, at.password, at.database, dial, func(c *client.Conn) error {
		c.UnsetCapability(mysql.CLIENT_QUERY_ATTRIBUTES) // statements are sent without
		c.SetCapability(mysql.CLIENT_FOUND_ROWS)         // an UPDATE counts rows that have its values already
		c.SetAttributes(map[string]string{"program_name": cmp.Or(application, "acequia")})
		if at.tls != nil {
			c.SetTLSConfig(at.tls)
		}
		return nil
	})
	if stop != nil && !stop() {
		<-over
		return nil, cmp.Or(ctx.Err(), err)
	}
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

// Database is that of the dsn; "" is none.
func (c *Conn) Database() string { return c.at.database }

// Host is where the server is, as the dsn says.
func (c *Conn) Host() string { return c.at.host }

// User is the name that the dsn logs in with.
func (c *Conn) User() string { return c.at.user }

// IsClosed says whether it cannot be used any more.
func (c *Conn) IsClosed() bool { return c.closed }

// Idle says whether it waits for statements, in no transaction.
func (c *Conn) Idle() bool { return !c.closed && !c.IsInTransaction() }

// Close ends the connection, after telling the server.
func (c *Conn) Close(context.Context) error {
	if c.closed {
		return nil
	}
	c.closed = true
	_ = c.SetDeadline(time.Now().Add(closeTimeout))
	_ = c.Quit() // it may be gone already
	_ = c.Conn.Close()
	return nil
}

// Row is a row of a small query, as texts.
type Row []mysql.FieldValue

// Null says whether a value is NULL.
func (r Row) Null(i int) bool { return r[i].Type == mysql.FieldValueTypeNull }

// Text gives a value as text; NULL is "".
func (r Row) Text(i int) string {
	switch v := r[i].Value().(type) {
	case []byte:
		return string(v)
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// Int gives a value that is a whole number; what is none, and NULL, is 0.
func (r Row) Int(i int) int64 {
	n, _ := strconv.ParseInt(r.Text(i), 10, 64)
	return n
}

// Bool gives a value that is a condition.
func (r Row) Bool(i int) bool { return r.Int(i) != 0 }

// Query runs a small query, whose ? stand for the arguments: texts and whole numbers.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) ([]Row, error) {
	result, err := c.execute(ctx, fill(sql, args))
	if err != nil || result.Resultset == nil {
		return nil, err
	}
	rows := make([]Row, len(result.Values))
	for i, row := range result.Values {
		rows[i] = row
	}
	return rows, nil
}

// QueryRow gives the one row of a small query; nil: there is none.
func (c *Conn) QueryRow(ctx context.Context, sql string, args ...any) (Row, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// Exec runs a statement.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) error {
	_, err := c.execute(ctx, fill(sql, args))
	return err
}

// Changed runs a statement, and says how many rows it found to change.
func (c *Conn) Changed(ctx context.Context, sql string, args ...any) (uint64, error) {
	result, err := c.execute(ctx, fill(sql, args))
	if err != nil {
		return 0, err
	}
	return result.AffectedRows, nil
}

func (c *Conn) execute(ctx context.Context, sql string) (result *mysql.Result, err error) {
	err = c.guarded(ctx, func() error {
		result, err = c.Execute(sql)
		return err
	})
	return result, err
}

// guarded does something with the connection that ends with ctx. What is cut off, or lost, ends the connection.
func (c *Conn) guarded(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0)) // in the past: what is being read returns
		close(over)
	})
	err := do()
	if !stop() {
		<-over
	}
	if ctx.Err() != nil {
		c.abandon(ctx)
		return cmp.Or(ctx.Err(), err)
	}
	if _, said := errors.AsType[*mysql.MyError](err); err != nil && !said {
		c.abandon(ctx)
	}
	return err
}

// abandon ends the connection, and what the server does for it: it would notice only when it writes the next rows.
func (c *Conn) abandon(ctx context.Context) {
	c.closed = true
	_ = c.Conn.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	other, err := open(ctx, c.at, "")
	if err != nil {
		return
	}
	_ = other.SetDeadline(time.Now().Add(closeTimeout))
	_, _ = other.Execute("KILL " + strconv.FormatUint(uint64(c.GetConnectionID()), 10)) // it may have ended by itself
	_ = other.Close()
}

// fill puts arguments into the places of a statement.
func fill(sql string, args []any) string {
	if len(args) == 0 {
		return sql
	}
	parts := strings.Split(sql, "?")
	var out strings.Builder
	for i, part := range parts {
		out.WriteString(part)
		if i == len(parts)-1 {
			break
		}
		switch v := args[i].(type) {
		case string:
			out.WriteString(Literal(v))
		default:
			fmt.Fprint(&out, v)
		}
	}
	return out.String()
}

// Quote makes an identifier of a name.
func Quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// Literal makes a literal of a text, whatever sql_mode is.
func Literal(text string) string {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == ' ', c == '_', c == '.', c == ':', c == '-', c == '+', c == ',', c == '/', c == '@', c == '#', c == '%', c == '(', c == ')', c == '{', c == '}':
		default:
			return fmt.Sprintf("_utf8mb4 0x%x", text)
		}
	}
	return "'" + text + "'"
}

// Estimate gives how many rows the server thinks that a statement reads, which begins with EXPLAIN.
func (c *Conn) Estimate(ctx context.Context, sql string) (int64, error) {
	result, err := c.execute(ctx, sql)
	if err != nil || len(result.Values) == 0 {
		return 0, err
	}
	i, ok := result.FieldNames["rows"]
	if !ok {
		return 0, nil
	}
	return Row(result.Values[0]).Int(i), nil
}
