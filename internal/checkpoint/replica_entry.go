package checkpoint

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// statement is one that has changed the state, as it stands in the log.
type statement struct {
	SQL     string     `json:"sql"`
	Args    []argument `json:"args,omitempty"`
	Gives   bool       `json:"gives,omitempty"`   // rows
	Changed *int64     `json:"changed,omitempty"` // rows; nil: they were not counted
}

// argument is a parameter of one of the kinds that SQLite has; none is null.
type argument struct {
	Integer *int64  `json:"i,omitempty"`
	Text    *string `json:"t,omitempty"`
	Bytes   *[]byte `json:"b,omitempty"`
}

func (a argument) value() any {
	switch {
	case a.Integer != nil:
		return *a.Integer
	case a.Text != nil:
		return *a.Text
	case a.Bytes != nil:
		return *a.Bytes
	}
	return nil
}

// arguments converts parameters as a driver would.
func arguments(args []any) (out []argument, err error) {
	for _, arg := range storable(args) {
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, fmt.Errorf("parameter %v: %w", arg, err)
		}
		var a argument
		switch v := v.(type) {
		case nil:
		case int64:
			a.Integer = &v
		case bool:
			n := int64(0)
			if v {
				n = 1
			}
			a.Integer = &n
		case string:
			a.Text = &v
		case []byte:
			if v != nil {
				a.Bytes = &v
			}
		default:
			return nil, fmt.Errorf("parameter of type %T", v)
		}
		out = append(out, a)
	}
	return out, nil
}

func values(args []argument) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a.value()
	}
	return out
}

// recorder runs the statements of a write on the copy, and notes those that change it.
type recorder struct {
	conn *sql.Conn
	done []statement
}

func (r *recorder) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	noted, err := arguments(args)
	if err != nil {
		return nil, err
	}
	result, err := r.conn.ExecContext(ctx, query, values(noted)...)
	if err != nil {
		return nil, err
	}
	s := statement{SQL: query, Args: noted}
	if counted(query) {
		n, err := result.RowsAffected()
		if err != nil || n == 0 {
			return result, err // nothing to do again
		}
		s.Changed = &n
	}
	r.done = append(r.done, s)
	return result, nil
}

// QueryContext runs a statement that gives rows, and may change some.
func (r *recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	noted, err := arguments(args)
	if err != nil {
		return nil, err
	}
	if counted(query) {
		r.done = append(r.done, statement{SQL: query, Args: noted, Gives: true})
	}
	return r.conn.QueryContext(ctx, query, values(noted)...)
}

// QueryRowContext is QueryContext for one row.
func (r *recorder) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	noted, err := arguments(args)
	if err != nil {
		return r.conn.QueryRowContext(ctx, query, args...) // the driver says what is wrong with it
	}
	if counted(query) {
		r.done = append(r.done, statement{SQL: query, Args: noted, Gives: true})
	}
	return r.conn.QueryRowContext(ctx, query, values(noted)...)
}

// counted says whether a statement changes rows, of which SQLite tells how many.
func counted(query string) bool {
	switch verb, _, _ := strings.Cut(strings.TrimSpace(query), " "); strings.ToLower(verb) {
	case "insert", "update", "delete":
		return true
	}
	return false
}

// entry is a transaction in the log.
type entry struct {
	Version    int         `json:"v"`
	Statements []statement `json:"statements"`
}

// entryVersion is that of the form of entries.
const entryVersion = 1

func encodeEntry(done []statement) ([]byte, error) {
	text, err := json.Marshal(entry{entryVersion, done})
	if err != nil {
		return nil, fmt.Errorf("encode an entry of the log: %w", err)
	}
	return compress(text), nil
}

func decodeEntry(data []byte) (done []statement, err error) {
	text, err := decompress(data)
	if err != nil {
		return nil, err
	}
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, err
	}
	if e.Version != entryVersion {
		return nil, fmt.Errorf("it has the form %d, this program knows %d", e.Version, entryVersion)
	}
	return e.Statements, nil
}

// errDiverged means that a statement did something else on this copy than where it was done first.
var errDiverged = errors.New("the copy is not as that of the process which has written the entry")

// replay does the statements of an entry.
func replay(ctx context.Context, conn *sql.Conn, data []byte) error {
	done, err := decodeEntry(data)
	if err != nil {
		return err
	}
	for _, s := range done {
		if s.Gives {
			if err := drain(conn.QueryContext(ctx, s.SQL, values(s.Args)...)); err != nil {
				return err
			}
			continue
		}
		result, err := conn.ExecContext(ctx, s.SQL, values(s.Args)...)
		if err != nil {
			return err
		}
		if s.Changed == nil {
			continue
		}
		if n, err := result.RowsAffected(); err != nil || n != *s.Changed {
			return errors.Join(fmt.Errorf("%w: %d rows changed, %d were: %s", errDiverged, n, *s.Changed, s.SQL), err)
		}
	}
	return nil
}

// drain has a statement that gives rows done to its end.
func drain(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

func compress(data []byte) []byte {
	w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)) // these options are right
	return w.EncodeAll(data, nil)
}

func decompress(data []byte) ([]byte, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.DecodeAll(data, nil)
}
