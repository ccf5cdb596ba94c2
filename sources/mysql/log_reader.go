package mysql

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
)

const (
	// logLinger is how long rows wait for others that share their chunk.
	logLinger = 250 * time.Millisecond
	// logRest is how long the position of a log that gives us nothing may stay behind.
	logRest = 10 * time.Second
	// logLook is how often the pump looks up from a log in which nothing is written.
	logLook = time.Second
)

// logReader reads the lane of the log.
type logReader struct {
	*tabular.Reading

	mu   sync.Mutex
	open []unsettled // in order
}

// unsettled is a chunk that is not durable yet.
type unsettled struct {
	to   record.Position
	when int64 // microseconds since 1970: when its oldest change was committed; 0: it has none
}

// Settle forgets what is durable: the server keeps the log for a time of its own, whoever reads it.
func (r *logReader) Settle(_ context.Context, upTo record.Position, err error) error {
	if err != nil {
		return nil // it is read again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.open, func(u unsettled) bool { return u.to == upTo }); i >= 0 {
		r.open = r.open[i+1:]
	}
	return nil
}

// age is how long ago the oldest change was committed that is not durable yet.
func (r *logReader) age(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.open {
		if u.when != 0 {
			return max(0, now.Sub(time.UnixMicro(u.when)))
		}
	}
	return 0
}

// logPump turns the events of the log into chunks. It is one goroutine's.
type logPump struct {
	source   *Source
	reader   *logReader
	log      *mysql.Log
	give     func(record.Chunk) error
	epoch    int    // incarnation of the log
	target   uint64 // the lane ends there; 0: it is endless
	charsets mysql.Charsets

	at     logPosition     // what was read; its GTIDs are those when it was handed on
	gtids  map[uint32]gtid // as of at.Offset
	given  record.Position // what was handed on
	moved  time.Time       // when
	again  uint64          // as at.Seen: of the transaction that comes again, so much is durable
	inside bool            // in a transaction:
	number uint64          // that it begins at
	single bool            // it is one statement
	xa     bool            // it is prepared, and may be rolled back
	gtid   gtid
	skip   uint64 // as at.Seen
	events uint64 // that have rows
	when   int64  // microseconds since 1970
	turn   uint64 // of the feed, when it began

	relations map[string]*relation // by database and name
	maps      map[uint64]*relation // by the number that the transaction uses
	touched   []*relation          // that have rows
	xid       string               // of the prepared transaction
	changed   []string             // the streams that it changes
	prepared  map[string][]string  // as of at.Offset
	refused   []record.Refused
	batches   []*record.Batch
	rows      int
	bytes     int
	first     time.Time // when the first of the rows came
	oldest    int64     // when it was committed
}

// readLog starts reading.
func (s *Source) readLog(ctx context.Context, p *logPump, log *mysql.Log) *logReader {
	r := &logReader{}
	p.reader, p.log, p.moved = r, log, time.Now()
	p.relations, p.maps, p.prepared = map[string]*relation{}, map[uint64]*relation{}, maps.Clone(p.at.Prepared)
	if p.prepared == nil {
		p.prepared = map[string][]string{}
	}
	p.given = p.position()
	s.mu.Lock()
	s.feed.reader = r
	s.mu.Unlock()
	r.Reading = tabular.Read(ctx, func(ctx context.Context, give func(record.Chunk) error) error {
		defer log.Close()
		defer p.release()
		p.give = give
		return p.run(ctx)
	})
	return r
}

// run reads until ctx or the lane ends.
func (p *logPump) run(ctx context.Context) error {
	for {
		err := p.stream(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case errors.Is(err, mysql.ErrLogLost):
			return p.lost(ctx, err)
		case err != nil:
			return err
		}
		if err := p.beat(ctx); err != nil {
			return err
		}
	}
}

// lost looks whether the place is not in the log any more. If it is, the server has another reason.
func (p *logPump) lost(ctx context.Context, said error) error {
	var gone string
	err := p.source.with(ctx, func(c *mysql.Conn) (err error) {
		gone, err = reachable(ctx, c, p.at)
		return err
	})
	switch {
	case err != nil:
		return err
	case gone != "":
		p.source.loseLog(gone)
		return io.EOF
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-MY-061", Place: "the log at " + p.at.File, Err: said,
		Remedy: "if another replica has the same server_id, give this one its own with capture.server_id; it is tried again",
	}
}

// stream takes events until it is time to look up.
func (p *logPump) stream(ctx context.Context) error {
	until, cancel := context.WithDeadline(ctx, p.next())
	defer cancel()
	for {
		e, err := p.log.Next(until)
		if err != nil {
			if until.Err() != nil {
				return nil // it is time, or the end
			}
			return err
		}
		before := p.rows
		if err := p.event(ctx, e); err != nil {
			return err
		}
		if before == 0 && p.rows > 0 || p.target != 0 && !p.inside && p.reached() {
			return nil // the deadline is another one
		}
	}
}

// next is when the pump looks up from the stream.
func (p *logPump) next() time.Time {
	if p.rows > 0 {
		return p.first.Add(logLinger)
	}
	return time.Now().Add(logLook)
}

// reached says whether the log was read up to the target.
func (p *logPump) reached() bool {
	n, err := p.at.number()
	return err == nil && n >= p.target
}

// beat does what time asks for.
func (p *logPump) beat(ctx context.Context) error {
	switch {
	case p.rows > 0 && time.Since(p.first) >= logLinger:
		return p.cut(ctx)
	case p.inside:
	case p.target != 0 && p.reached():
		if p.rows > 0 || p.position() != p.given {
			if err := p.cut(ctx); err != nil {
				return err
			}
		}
		p.source.drainedLog()
		return io.EOF
	case p.rows == 0 && time.Since(p.moved) >= logRest && p.position() != p.given:
		return p.cut(ctx)
	}
	return nil
}

// position is where the pump stands, as a chunk ends there.
func (p *logPump) position() record.Position {
	p.at.GTIDs, p.at.Prepared = setOf(p.gtids), maps.Clone(p.prepared)
	return pack(p.at)
}

// event takes an event of the log (https://mariadb.com/kb/en/2-binlog-event-header/).
func (p *logPump) event(ctx context.Context, e *replication.BinlogEvent) error {
	switch ev := e.Event.(type) {
	case *replication.RotateEvent:
		if name := string(ev.NextLogName); name != p.at.File {
			p.at = logPosition{File: name, Offset: uint32(ev.Position)} //nolint:gosec // its beginning
		}
		return nil
	case *replication.MariadbGTIDEvent:
		p.begin(e.Header, ev)
		return nil
	case *replication.XIDEvent:
		return p.commit(ctx, e.Header)
	case *replication.QueryEvent:
		return p.query(ctx, e.Header, ev)
	case *replication.TableMapEvent:
		return p.describe(ctx, ev, e.RawData)
	case *replication.RowsEvent:
		return p.rowsEvent(ctx, e.Header, ev)
	}
	switch {
	case e.Header.EventType == replication.XA_PREPARE_LOG_EVENT:
		p.prepared[p.xid] = p.changed
		return p.commit(ctx, e.Header)
	case !p.inside && e.Header.LogPos > p.at.Offset && e.Header.EventType != replication.HEARTBEAT_EVENT:
		p.at.Offset = e.Header.LogPos
	}
	return nil
}

// What the flags of a GTID say (log_event.h of MariaDB).
const (
	flagStandalone = 1
	flagPrepared   = 64
)

// begin takes a new transaction up.
func (p *logPump) begin(h *replication.EventHeader, e *replication.MariadbGTIDEvent) {
	p.at.Offset, p.at.Seen = h.LogPos-h.EventSize, 0
	p.number, _ = p.at.number() // checked when the file began
	f := &p.source.feed
	f.gate.Lock()
	p.turn, f.reached = f.turn, p.number
	f.gate.Unlock()
	p.inside, p.single, p.xa = true, e.Flags&flagStandalone != 0, e.Flags&flagPrepared != 0
	p.gtid = gtid{e.GTID.DomainID, e.GTID.ServerID, e.GTID.SequenceNumber}
	p.when = int64(h.Timestamp) * 1_000_000
	p.skip, p.again, p.events = p.again, 0, 0
	p.xid, p.changed = "", nil
	clear(p.maps)
	for _, r := range p.relations {
		r.changes = 0
	}
}

// commit ends the transaction. In a file that has grown beyond 4 GiB, which it does by a transaction alone, the position stays at its
// beginning until the next file.
func (p *logPump) commit(ctx context.Context, h *replication.EventHeader) error {
	p.inside = false
	if h.LogPos > p.at.Offset {
		p.at.Offset, p.at.Seen = h.LogPos, 0
		p.gtids[p.gtid.domain] = p.gtid
	}
	if p.rows >= p.source.chunkRows || p.bytes >= chunkBytes {
		return p.cut(ctx)
	}
	return nil
}

// cut hands on what was gathered, as one chunk that ends where the pump is.
func (p *logPump) cut(ctx context.Context) error {
	for _, r := range p.touched {
		if err := p.flush(ctx, r); err != nil {
			return err
		}
		r.touched = false
	}
	chunk := record.Chunk{Batches: p.batches, Refused: p.refused, To: p.position(), ReadAt: time.Now()}
	p.reader.mu.Lock()
	p.reader.open = append(p.reader.open, unsettled{to: chunk.To, when: p.oldest})
	p.reader.mu.Unlock()
	p.touched, p.batches, p.refused, p.rows, p.bytes, p.oldest = p.touched[:0], nil, nil, 0, 0, 0
	p.given, p.moved = chunk.To, time.Now()
	return p.give(chunk)
}

// release lets go what was gathered and not handed on.
func (p *logPump) release() {
	for _, b := range p.batches {
		b.Release()
	}
}

// drainedLog says that the lane has given all there was.
func (s *Source) drainedLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.drained = true
}

// readAnew notes durably that a table of the log must be read anew, before its position is behind what asks for it.
func (p *logPump) readAnew(ctx context.Context, t *table, why string) error {
	if now := p.source.table(t.stream); now == nil || now.note.Epoch != t.note.Epoch || now.note.Anew != "" {
		return nil
	}
	p.source.log.WarnContext(ctx, "the log does not tell what has become of the rows of the table", slog.Any("table", t), slog.String("reason", why))
	return p.source.mustBegin(ctx, t, why)
}
