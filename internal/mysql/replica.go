package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

const (
	// logBeat is how often the server says that it is there while nothing is written.
	logBeat = 5 * time.Second
	// logSilence is after how long without a word it is taken for gone.
	logSilence = 60 * time.Second
	// logAhead is how many events are read ahead. One may be as long as a row.
	logAhead = 64
)

// Log is the binary log of a server, as one of its replicas is sent it.
type Log struct {
	syncer *replication.BinlogSyncer
	stream *replication.BinlogStreamer
	host   string
}

// OpenLog asks for the log from a place on, as the replica of a number that no other may have. A place is a file and an offset of the
// beginning of an event in it.
func OpenLog(ctx context.Context, o Options, server Server, id uint32, file string, offset uint32) (*Log, error) {
	at, err := parseDSN(o.DSN)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4}}
	config := replication.BinlogSyncerConfig{
		ServerID: max(id, 1), Flavor: mysql.MySQLFlavor, Host: at.host, User: at.user, Password: at.password, TLSConfig: at.tls,
		Localhost: "acequia", HeartbeatPeriod: logBeat, ReadTimeout: logSilence, DisableRetrySync: true, DiscardGTIDSet: true,
		EventCacheCount: logAhead, Dialer: dialer.DialContext, Logger: slog.New(slog.DiscardHandler), RowsEventDecodeFunc: keepImages,
	}
	if server.Flavor == MariaDB {
		config.Flavor = mysql.MariaDBFlavor
		major, minor := server.Number()
		config.FillZeroLogPos = major > 11 || major == 11 && minor >= 4 // which leaves places out of the events of a transaction
	}
	for {
		l := &Log{syncer: replication.NewBinlogSyncer(config), host: at.host}
		stop := context.AfterFunc(ctx, l.syncer.Close)
		l.stream, err = l.syncer.StartSync(mysql.Position{Name: file, Pos: offset})
		stop()
		if err == nil {
			return l, nil
		}
		l.syncer.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !at.plain || config.TLSConfig == nil || !noTLS(err) {
			return nil, Explain(err, "ask for the log", at.host)
		}
		config.TLSConfig = nil
	}
}

// keepImages leaves the rows of an event as they are: Images reads them.
func keepImages(e *replication.RowsEvent, data []byte) error {
	n, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	e.Rows = [][]any{{data[n:]}}
	return nil
}

// RowImages gives the bytes of an event's rows.
func RowImages(h *replication.EventHeader, e *replication.RowsEvent) ([]byte, error) {
	data, ok := e.Rows[0][0].([]byte)
	if !ok {
		return nil, errMalformed
	}
	switch h.EventType { //nolint:exhaustive // the others are as they are
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		return mysql.DecompressMariadbData(data)
	}
	return data, nil
}

// Next waits for the next event. A server that has ended the log, or gone, is a fault; ErrLogLost says that it has no such place.
func (l *Log) Next(ctx context.Context) (*replication.BinlogEvent, error) {
	event, err := l.stream.GetEvent(ctx)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return event, err
	}
	const noSuchPlace, sameNumber = 1236, 4052 // ER_MASTER_FATAL_ERROR_READING_BINLOG, ER_SLAVE_SAME_ID
	if said := Said(err); said == noSuchPlace || said == sameNumber {
		return nil, fmt.Errorf("%w: %w", ErrLogLost, err)
	}
	return nil, Explain(err, "read the log", l.host)
}

// ErrLogLost says that the server will not send the log from that place on: it was purged or reset, or another replica has our number.
var ErrLogLost = errors.New("the server does not send the log")

// Close ends the replica.
func (l *Log) Close() { l.syncer.Close() }
