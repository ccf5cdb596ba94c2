package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// wal is a running START_REPLICATION. It is for one goroutine.
type wal struct {
	conn *postgres.Conn
	slot string
	told pglogrepl.LSN // up to where the server was last told that all is durable
	when time.Time     // when
}

// usePatience is how long the lane waits for a slot that another session reads: that of an incarnation before is just ending.
const usePatience = 5 * time.Second

// replication says how to connect for the log.
func (s *Source) replication() postgres.Options {
	o := s.options
	o.Replication = true
	return o
}

// startLog begins to read the slot.
func (s *Source) startLog(ctx context.Context, slot string, from pglogrepl.LSN) (w *wal, err error) {
	err = released(ctx, slot, func() error {
		conn, err := postgres.Connect(ctx, s.replication())
		if err != nil {
			return err
		}
		err = pglogrepl.StartReplication(ctx, conn.PgConn(), slot, from, pglogrepl.StartReplicationOptions{
			Mode: pglogrepl.LogicalReplication, PluginArgs: pluginArgs(conn, s.logName()),
		})
		if err == nil {
			w = &wal{conn: conn, slot: slot}
			return nil
		}
		_ = conn.Close(ctx)
		if _, busy := inUse(err); busy {
			return err
		}
		return streamError(err, slot)
	})
	return w, err
}

// pluginArgs are those of pgoutput: whole transactions, values as text, and from version 14 on the messages that heartbeats are.
func pluginArgs(conn *postgres.Conn, publication string) []string {
	args := []string{"proto_version '1'", "publication_names " + literal(pgx.Identifier{publication}.Sanitize())}
	major, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	if n, err := strconv.Atoi(major); err == nil && n >= 14 {
		args = append(args, "messages 'true'")
	}
	return args
}

// inUse finds the server's word that another session reads the slot: it names its process.
func inUse(err error) (*pgconn.PgError, bool) {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return e, ok && e.Code == "55006" // object_in_use
}

func slotInUse(slot string, err error) error {
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-PG-061", Place: slot, Err: err,
		Remedy: "one process at a time reads a slot: stop the other, or give this pipeline another with capture.slot; it is tried again",
	}
}

// streamError classifies what ends the stream. Whatever the server says may be over when the lane is opened again, and what is not
// is found then.
func streamError(err error, slot string) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &fault.Error{Class: fault.Retryable, Code: "ACQ-PG-065", Place: slot, Err: fmt.Errorf("the server ended the log's stream: %w", e)}
	}
	return postgres.Explain(err, "read the log", slot)
}

// errQuiet says that nothing came until the deadline.
var errQuiet = errors.New("nothing came")

// receive gives the next message of the stream, valid until the next call: 'w' and a message of the log, or 'k', a keepalive. The
// deadline is that of until.
func (w *wal) receive() ([]byte, error) {
	for {
		m, err := w.conn.PgConn().Frontend().Receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, errQuiet
		case err != nil:
			return nil, streamError(err, w.slot)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if len(m.Data) == 0 {
				return nil, streamError(errMessage, w.slot)
			}
			return m.Data, nil
		case *pgproto3.ErrorResponse:
			return nil, streamError(pgconn.ErrorResponseToPgError(m), w.slot)
		case *pgproto3.CopyDone:
			return nil, streamError(errors.New("the server ended the stream"), w.slot)
		}
	}
}

// until sets when receive gives up.
func (w *wal) until(t time.Time) error {
	if err := w.conn.PgConn().Conn().SetReadDeadline(t); err != nil {
		return streamError(err, w.slot)
	}
	return nil
}

// tell lets the server throw away the WAL before a position, and shows it that we live. answer asks where the server is.
func (w *wal) tell(ctx context.Context, durable pglogrepl.LSN, answer bool) error {
	err := pglogrepl.SendStandbyStatusUpdate(ctx, w.conn.PgConn(), pglogrepl.StandbyStatusUpdate{WALWritePosition: durable, ReplyRequested: answer})
	if err != nil {
		return streamError(err, w.slot)
	}
	w.told, w.when = durable, time.Now()
	return nil
}

func (w *wal) close(ctx context.Context) { _ = w.conn.Close(ctx) }
