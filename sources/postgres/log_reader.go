package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

const (
	// logLinger is how long rows wait for others that share their chunk.
	logLinger = 250 * time.Millisecond
	// logBeat is how often the server hears of us while nothing comes, and how soon it hears what is durable.
	logBeat = time.Second
	// drainBeat is how often the server is asked where it is when the lane is to end there.
	drainBeat = 50 * time.Millisecond
	// heartbeat writes an empty transaction into the log of a database in which nothing happens, when others of the server have written
	// so much. It brings the slot on by itself, where keepalives do not.
	heartbeatAfter, heartbeatBytes = 10 * time.Second, 16 << 20
	// restAfter is how long the position of a log that gives us nothing may stay behind, and restBytes how much of it: it holds back WAL.
	restAfter = 10 * time.Second
	restBytes = 16 << 20
)

// logReader reads the lane of the log.
type logReader struct {
	chunks  chan record.Chunk
	err     error // valid when chunks is closed; nil: the lane has ended
	cancel  context.CancelFunc
	over    atomic.Bool   // the slot is another one by now: what comes of this one is read anew
	durable atomic.Uint64 // LSN
	wake    func()        // the pump looks up from the stream

	mu   sync.Mutex
	open []unsettled // in order
}

// unsettled is a chunk that is not durable yet.
type unsettled struct {
	to   record.Position
	when int64 // microseconds since 1970: when its oldest change was committed; 0: it has none
}

// logPump turns the stream into chunks. It is one goroutine's.
type logPump struct {
	source *Source
	reader *logReader
	wal    *wal
	epoch  int           // incarnation of the slot
	target pglogrepl.LSN // the lane ends there; 0: it is endless

	at     logPosition // what was read
	given  logPosition // what was handed on
	moved  time.Time   // when
	again  logPosition // a transaction that was read in part, and comes again
	inside bool        // in a transaction:
	commit pglogrepl.LSN
	when   int64  // microseconds since 1970
	xid    uint32 // of its top level
	skip   uint64 // its first changes are durable already
	turn   uint64 // of the feed, when the transaction began

	server pglogrepl.LSN // up to where the server has decoded
	beaten pglogrepl.LSN // where it was at the last transaction or heartbeat
	beatAt time.Time     // when
	silent bool          // no heartbeat can be written
	asked  bool          // the server waits until all is durable: it shuts down

	relations map[uint32]*relation
	touched   []*relation // that have rows
	batches   []*record.Batch
	refused   []record.Refused
	rows      int
	bytes     int
	first     time.Time // when the first of the rows came
	oldest    int64     // when it was committed: microseconds since 1970
	change    change
	arena     []byte // of values that wait for others
	looked    bool   // some of them were read from tables
}

// readLog starts reading.
func (s *Source) readLog(ctx context.Context, w *wal, epoch int, at logPosition, target pglogrepl.LSN) *logReader {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &logReader{chunks: make(chan record.Chunk), cancel: cancel, wake: func() { _ = w.until(time.Unix(1, 0)) }}
	r.durable.Store(uint64(at.End))
	p := &logPump{
		source: s, reader: r, wal: w, epoch: epoch, target: target, at: at, given: at, moved: time.Now(), relations: map[uint32]*relation{},
		server: at.End, beaten: at.End,
	}
	if at.Commit != 0 {
		p.again = at
	}
	unhook := context.AfterFunc(ctx, r.wake) // a pump that waits looks at ctx again
	go func() {
		defer close(r.chunks)
		defer w.close(context.WithoutCancel(ctx))
		defer unhook()
		defer p.release()
		r.err = p.run(ctx)
		if errors.Is(r.err, io.EOF) || r.over.Load() {
			r.err = nil
		}
	}()
	return r
}

// Read gives the next chunk.
func (r *logReader) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case chunk, ok := <-r.chunks:
		switch {
		case ok:
			return chunk, nil
		case r.err != nil:
			return record.Chunk{}, r.err
		}
		return record.Chunk{}, io.EOF
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	}
}

// Settle lets the server throw away the WAL of what is durable; the pump tells it.
func (r *logReader) Settle(_ context.Context, upTo record.Position, err error) error {
	if err != nil || upTo == "" {
		return nil //nolint:nilerr // it is read again
	}
	r.settled(upTo)
	at, err := parseLogPosition(upTo)
	if err == nil && uint64(at.End) > r.durable.Load() {
		r.durable.Store(uint64(at.End))
		r.wake()
	}
	return err
}

// settled forgets a chunk that is durable. Chunks are settled in their order; one that recovery rolled forward is none of ours.
func (r *logReader) settled(upTo record.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.open, func(u unsettled) bool { return u.to == upTo }); i >= 0 {
		r.open = r.open[i+1:]
	}
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

// Close ends the stream.
func (r *logReader) Close() error {
	r.cancel()
	for chunk := range r.chunks {
		chunk.Release()
	}
	return nil
}

// run reads until ctx or the lane ends.
func (p *logPump) run(ctx context.Context) error {
	if err := p.tell(ctx, false); err != nil {
		return err
	}
	for {
		if err := p.wal.until(p.next()); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := p.stream(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = p.beat(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// stream takes messages until the deadline, or until one begins a chunk, whose deadline is sooner.
func (p *logPump) stream(ctx context.Context) error {
	for {
		m, err := p.wal.receive()
		if errors.Is(err, errQuiet) {
			return nil
		}
		if err != nil {
			return p.ended(err)
		}
		before := p.rows
		if err := p.message(ctx, m); err != nil {
			return err
		}
		if p.asked {
			return nil
		}
		if p.rows >= chunkRows || p.bytes >= chunkBytes {
			if err := p.cut(ctx); err != nil {
				return err
			}
		}
		if before == 0 && p.rows > 0 {
			p.first, p.oldest = time.Now(), p.when
			return nil
		}
	}
}

// next is when the pump looks up from the stream.
func (p *logPump) next() time.Time {
	switch {
	case p.rows > 0:
		return p.first.Add(logLinger)
	case p.target != 0:
		return time.Now().Add(drainBeat)
	}
	return time.Now().Add(logBeat)
}

// beat does what time asks for.
func (p *logPump) beat(ctx context.Context) error {
	now := time.Now()
	switch {
	case p.rows > 0 && now.Sub(p.first) >= logLinger:
		if err := p.cut(ctx); err != nil {
			return err
		}
	case p.rows > 0 || p.inside:
	case p.target != 0 && p.at.End >= p.target:
		if p.at != p.given {
			if err := p.cut(ctx); err != nil {
				return err
			}
		}
		p.source.drainedLog()
		return io.EOF
	case p.at.End > p.given.End && (p.asked || now.Sub(p.moved) >= restAfter || p.at.End-p.given.End >= restBytes):
		if err := p.cut(ctx); err != nil {
			return err
		}
	}
	p.asked = false
	p.heartbeat(ctx, now)
	late := now.Sub(p.wal.when) >= restAfter // a server that is busy with others says where it is only if it is asked
	if p.target != 0 || late || uint64(p.wal.told) < p.reader.durable.Load() {
		return p.tell(ctx, p.target != 0 || late)
	}
	return nil
}

// heartbeat writes one when it is time. It changes no table. Where it may not be written, keepalives have to do.
func (p *logPump) heartbeat(ctx context.Context, now time.Time) {
	if p.silent || p.server < p.beaten+heartbeatBytes || now.Sub(p.beatAt) < heartbeatAfter {
		return
	}
	p.beaten, p.beatAt = p.server, now
	err := p.source.with(ctx, func(c *postgres.Conn) error {
		_, err := c.Exec(ctx, "SELECT pg_logical_emit_message(true, 'acequia', 'heartbeat')")
		return postgres.Explain(err, "write a heartbeat", p.wal.slot)
	})
	if err != nil && ctx.Err() == nil {
		p.silent = true
		p.source.log.WarnContext(ctx, "no heartbeats are written", slog.String("reason", err.Error()))
	}
}

// tell tells the server what is durable, and nothing more: it throws away the WAL of that.
func (p *logPump) tell(ctx context.Context, answer bool) error {
	return p.wal.tell(ctx, pglogrepl.LSN(p.reader.durable.Load()), answer)
}

// message takes what the server sent.
func (p *logPump) message(ctx context.Context, m []byte) error {
	switch m[0] {
	case pglogrepl.XLogDataByteID:
		data, err := pglogrepl.ParseXLogData(m[1:])
		if err != nil || len(data.WALData) == 0 {
			return streamError(errMessage, p.wal.slot)
		}
		return p.logMessage(ctx, data.WALData)
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(m[1:])
		if err != nil {
			return streamError(errMessage, p.wal.slot)
		}
		// The server has decoded up to there, and sent all that was committed: between two transactions nothing before it comes any more.
		p.server = alive.ServerWALEnd
		if !p.inside && alive.ServerWALEnd > p.at.End && p.again.Commit == 0 {
			p.at.End = alive.ServerWALEnd
		}
		if alive.ReplyRequested {
			p.asked = true
			return p.tell(ctx, false)
		}
	}
	return nil
}

// logMessage takes a message of the log. The kinds are those of version 1 of the protocol, which sends whole transactions in the order
// of their commits: a transaction that is rolled back is never seen, and a prepared one when it is committed.
func (p *logPump) logMessage(ctx context.Context, m []byte) error {
	switch m[0] {
	case 'I', 'U', 'D':
		if err := p.change.parse(m); err != nil {
			return streamError(err, p.wal.slot)
		}
		if !p.counted() {
			return nil
		}
		return p.row(ctx, len(m))
	case 'M', 'O', 'Y': // a message of an application or a heartbeat, an origin, a type
		return nil
	}
	parsed, err := pglogrepl.Parse(m)
	if err != nil {
		return streamError(err, p.wal.slot)
	}
	switch m := parsed.(type) {
	case *pglogrepl.BeginMessage:
		return p.begin(m)
	case *pglogrepl.CommitMessage:
		p.at = logPosition{End: m.TransactionEndLSN}
		p.inside, p.beaten = false, m.TransactionEndLSN
	case *pglogrepl.RelationMessage:
		p.relation(m)
	case *pglogrepl.TruncateMessage:
		if p.counted() {
			return p.truncate(ctx, m.RelationIDs)
		}
	}
	return nil
}

// begin takes a new transaction up.
func (p *logPump) begin(m *pglogrepl.BeginMessage) error {
	f := &p.source.feed
	f.gate.Lock()
	p.turn = f.turn
	f.gate.Unlock()
	p.inside, p.commit, p.when, p.xid, p.skip = true, m.FinalLSN, m.CommitTime.UnixMicro(), m.Xid, 0
	p.at.Commit, p.at.Seen = 0, 0
	switch again := p.again; {
	case again.Commit == 0:
	case m.FinalLSN < again.Commit: // it gave us nothing
		p.skip = 1<<64 - 1
	case m.FinalLSN == again.Commit:
		p.skip, p.again = again.Seen, logPosition{}
	default:
		return fault.Stop(fmt.Errorf("postgres: the transaction that commits at %s does not come again", again.Commit))
	}
	return nil
}

// counted counts a change of the transaction, and says whether it is new.
func (p *logPump) counted() bool {
	p.at.Commit = p.commit
	p.at.Seen++
	return p.at.Seen > p.skip
}

// ended looks at what ended the stream. The publication is looked up as it was when a change was made: where it was not there for a
// while, the slot can never be read on.
func (p *logPump) ended(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42704" { // undefined_object
		p.source.loseLog("the publication was not there for a while")
		return io.EOF
	}
	if p.source.undecodable(p.at, err) {
		return io.EOF
	}
	return err
}

// cut hands on what was gathered, as one chunk that ends where the pump is.
func (p *logPump) cut(ctx context.Context) error {
	for _, r := range p.touched {
		if err := p.flush(ctx, r); err != nil {
			return err
		}
		r.touched = false
	}
	p.touched = p.touched[:0]
	if p.looked { // what they showed may be of a commit that is not on the server's disk yet
		if err := p.source.with(ctx, func(c *postgres.Conn) error { return lasting(ctx, c, sight{}) }); err != nil {
			return err
		}
	}
	chunk := record.Chunk{Batches: p.batches, Refused: p.refused, To: record.Position(p.at.String()), ReadAt: time.Now()}
	p.reader.mu.Lock()
	p.reader.open = append(p.reader.open, unsettled{to: chunk.To, when: p.oldest})
	p.reader.mu.Unlock()
	p.oldest = 0
	p.batches, p.refused, p.rows, p.bytes, p.arena, p.looked = nil, nil, 0, 0, nil, false
	tick := time.NewTicker(logBeat)
	defer tick.Stop()
	for {
		select {
		case p.reader.chunks <- chunk:
			p.given, p.moved = p.at, time.Now()
			return nil
		case <-ctx.Done():
			chunk.Release()
			return ctx.Err()
		case <-tick.C: // the server ends a session that says nothing for wal_sender_timeout
			if err := p.tell(ctx, false); err != nil {
				chunk.Release()
				return err
			}
		}
	}
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
