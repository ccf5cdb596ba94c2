package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Strategy log reads the change stream of a collection (https://www.mongodb.com/docs/manual/changeStreams/): every change in the order of
// the server's log, whose time is the number of the version. Following begins at a time from before the backfill.

// logPosition is where a stream stands.
type logPosition struct {
	Token   string `json:"r,omitempty"` // the resume token, as Extended JSON; "": the stream begins at Time
	Begins  bool   `json:"b,omitempty"` // the token is of the end of a stream (invalidate), behind which another one begins
	Time    uint64 `json:"t"`           // of the last event
	Ordinal uint32 `json:"n,omitempty"` // of the last event among those of its time: a transaction's have one time
}

// logNumber is the number of a version at a time of the log.
func logNumber(at bson.Timestamp) uint64 { return uint64(at.T)<<32 | uint64(at.I) }

func logTime(number uint64) bson.Timestamp {
	return bson.Timestamp{T: uint32(number >> 32), I: uint32(number)} //nolint:gosec // two words
}

// beginLog takes the time of now.
func beginLog(server mongodb.Server) (record.Position, error) {
	if server.Operation.IsZero() {
		return "", &fault.Error{
			Class: fault.Retryable, Code: "ACQ-MG-046", Err: errors.New("the server does not tell the time of its log yet"), Remedy: "it is tried again; look whether the replica set has a primary",
		}
	}
	return pack(logPosition{Time: logNumber(server.Operation)}), nil
}

// causal lets reads wait until they see what the log has up to a time: what a majority has may be older than what the server has.
func causal(ctx context.Context, db *mongodb.Database, seen bson.Timestamp) (context.Context, func(), error) {
	if seen.IsZero() {
		return ctx, func() {}, nil
	}
	session, err := db.Client().StartSession()
	if err != nil {
		return ctx, nil, mongodb.Explain(err, "begin a session", db.Name())
	}
	end := func() { session.EndSession(context.WithoutCancel(ctx)) }
	if err := session.AdvanceOperationTime(&seen); err != nil {
		end()
		return ctx, nil, mongodb.Explain(err, "begin a session", db.Name())
	}
	return mongo.NewSessionContext(ctx, session), end, nil
}

const (
	// awaitTime is how long the server waits for an event before it says that there is none.
	awaitTime = time.Second
	// tellEvery is how often the position of a stream without events is moved on, so that it does not leave the log.
	tellEvery = 30 * time.Second
)

// follower reads the change stream of a collection.
type follower struct {
	source     *Source
	feed       *feed
	collection *collection
	db         *mongodb.Database
	gather     *gather
	at         logPosition
	told       time.Time // when a position was given last

	fragments []bson.Raw // of a large event, whose end is still to come
	numbers   []uint64   // of the rows that were gathered
	ordinals  []uint32
	times     []int64
}

func (s *Source) followLog(ctx context.Context, c *collection, from, at record.Position) (sources.Reader, error) {
	begin, err := unpack[logPosition](c.Name, at)
	if err != nil {
		return nil, err
	}
	return newFeed(ctx, from, func(ctx context.Context, f *feed) error {
		db, err := s.db()
		if err != nil {
			return err
		}
		g, err := s.gather(c)
		if err != nil {
			return err
		}
		w := &follower{source: s, feed: f, collection: c, db: db, gather: g, at: begin, told: time.Now()}
		return w.run(ctx)
	}), nil
}

// watch opens a stream. Servers before 6.0.9 do not know how to split large events.
func (w *follower) watch(ctx context.Context, at *logPosition) (*mongo.ChangeStream, error) {
	o := options.ChangeStream().SetFullDocument(options.UpdateLookup).SetMaxAwaitTime(awaitTime).SetBatchSize(batchRows)
	if w.collection.Past {
		o.SetFullDocumentBeforeChange(options.WhenAvailable)
	}
	if w.source.drains {
		o.SetMaxAwaitTime(leastMargin)
	}
	switch {
	case at == nil:
	case at.Token == "":
		begin := logTime(at.Time)
		o.SetStartAtOperationTime(&begin)
	default:
		var token bson.Raw
		if err := bson.UnmarshalExtJSON([]byte(at.Token), true, &token); err != nil {
			return nil, fault.Stop(fmt.Errorf("mongodb: %q is no resume token of %s: %w", at.Token, w.collection.Name, err))
		}
		if at.Begins {
			o.SetStartAfter(token)
		} else {
			o.SetResumeAfter(token)
		}
	}
	c := w.db.Collection(w.collection.Name)
	stream, err := c.Watch(ctx, bson.A{bson.D{{Key: "$changeStreamSplitLargeEvent", Value: bson.D{}}}}, o)
	if mongodb.Unknown(err) {
		stream, err = c.Watch(ctx, bson.A{}, o)
	}
	return stream, err
}

// until gives the token of now, up to which a source that drains has to give all; "": it does not drain. Tokens are hexadecimal digits
// in the order of the log.
func (w *follower) until(ctx context.Context) (string, error) {
	if !w.source.drains {
		return "", nil
	}
	stream, err := w.watch(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close(context.WithoutCancel(ctx)) }() // nothing was read of it
	for stream.ResumeToken() == nil && !stream.TryNext(ctx) {
		if stream.Err() != nil || ctx.Err() != nil {
			return "", errors.Join(stream.Err(), ctx.Err())
		}
	}
	return tokenData(stream.ResumeToken()), stream.Err()
}

func tokenData(token bson.Raw) string {
	text, _ := token.Lookup("_data").StringValueOK()
	return text
}

// run follows until the collection is another one, or drained. A stream that cannot go on, for the log does not reach back so far, has
// the collection read anew.
func (w *follower) run(ctx context.Context) error {
	s, c := w.source, w.collection
	s.stands(c.Name, w.at.Time)
	defer s.stands(c.Name, 0)
	until, err := w.until(ctx)
	for err == nil {
		err = w.stream(ctx, until)
	}
	switch {
	case mongodb.Lost(err):
		s.mark(c.Name, c.note.Epoch, func(c *collection) { c.anew = "the log of the server does not go on where it was read: " + err.Error() })
		return io.EOF
	case errors.Is(err, errDrained):
		s.mark(c.Name, c.note.Epoch, func(c *collection) { c.drained = true })
		return io.EOF
	}
	return mongodb.Explain(err, "follow "+c.Name, c.Name)
}

var errDrained = errors.New("all was given")

// stream reads one stream until it ends, which another one follows.
func (w *follower) stream(ctx context.Context, until string) (err error) {
	stream, err := w.watch(ctx, &w.at)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close(context.WithoutCancel(ctx)) }() // what could fail is told by Err
	for {
		if now := w.source.collection(w.collection.Name); now == nil || now.note.Epoch != w.collection.note.Epoch {
			return io.EOF
		}
		if !stream.TryNext(ctx) {
			if stream.Err() != nil || ctx.Err() != nil {
				return errors.Join(stream.Err(), ctx.Err())
			}
			if err := w.idle(stream, until); err != nil {
				return err
			}
			continue
		}
		ended, err := w.event(ctx, stream.Current)
		if err != nil || ended {
			return err
		}
		if len(w.fragments) == 0 && (w.gather.full() || stream.RemainingBatchLength() == 0) {
			if err := w.send(ctx); err != nil {
				return err
			}
		}
	}
}

// idle notes where the server is, when it has no events.
func (w *follower) idle(stream *mongo.ChangeStream, until string) error {
	token := stream.ResumeToken()
	if token == nil || len(w.fragments) > 0 {
		return nil
	}
	w.source.stands(w.collection.Name, 0)
	if until != "" && tokenData(token) >= until {
		return errDrained
	}
	if time.Since(w.told) < tellEvery {
		return nil
	}
	if err := w.setToken(token); err != nil {
		return err
	}
	w.told = time.Now()
	return w.feed.give(record.Chunk{To: pack(w.at), ReadAt: w.told})
}

func (w *follower) setToken(token bson.Raw) error {
	text, err := mongodb.AppendJSON(nil, mongodb.Value{Type: bson.TypeEmbeddedDocument, Data: token})
	w.at.Token, w.at.Begins = string(text), false
	return err
}

// field finds a field of an event, which may have come in fragments.
func (w *follower) field(path ...string) mongodb.Value {
	for _, f := range w.fragments {
		if v, ok := mongodb.Field(f, path...); ok {
			return v
		}
	}
	return mongodb.Value{}
}

// event takes an event, or a fragment of one. ended says that the stream has none behind it.
func (w *follower) event(ctx context.Context, doc bson.Raw) (ended bool, err error) {
	w.fragments = append(w.fragments, slices.Clone(doc))
	if fragment, ok := doc.Lookup("splitEvent", "fragment").Int32OK(); ok {
		if of, _ := doc.Lookup("splitEvent", "of").Int32OK(); fragment < of {
			return false, nil
		}
	}
	defer func() { w.fragments = nil }()
	if err := w.setToken(doc.Lookup("_id").Document()); err != nil {
		return false, err
	}
	if t, i, ok := clusterTime(w.field("clusterTime")); ok {
		number := logNumber(bson.Timestamp{T: t, I: i})
		if w.at.Ordinal++; number != w.at.Time {
			w.at.Ordinal = 0
		}
		w.at.Time = number
		w.source.stands(w.collection.Name, number)
	}
	switch kind := string(textOf(w.field("operationType"))); kind {
	case "insert":
		return false, w.row(record.Insert, w.field("fullDocument"))
	case "update", "replace":
		return false, w.row(record.Update, w.field("fullDocument"))
	case "delete":
		return false, w.gone()
	case "drop":
		return false, w.dropped(ctx)
	case "rename", "dropDatabase":
		return true, w.again("it was renamed, or its database was dropped")
	case "invalidate":
		w.at.Begins = true
		if err := w.send(ctx); err != nil {
			return true, err
		}
		return true, w.feed.give(record.Chunk{To: pack(w.at), ReadAt: time.Now()})
	}
	return false, nil // an event of another kind changes no document
}

func (w *follower) again(why string) error {
	c := w.collection
	w.source.mark(c.Name, c.note.Epoch, func(c *collection) { c.anew = why })
	return io.EOF
}

func textOf(v mongodb.Value) []byte {
	text, _ := bson.RawValue{Type: v.Type, Value: v.Data}.StringValueOK()
	return []byte(text)
}

func clusterTime(v mongodb.Value) (t, i uint32, ok bool) {
	return bson.RawValue{Type: v.Type, Value: v.Data}.TimestampOK()
}

// row takes a document as it is after a change. One that is gone by now has none: its delete is to come.
func (w *follower) row(op record.Op, doc mongodb.Value) error {
	if doc.Type != bson.TypeEmbeddedDocument {
		return nil
	}
	return w.taken(func() error { return w.gather.put(doc.Data, op) })
}

// gone takes a delete: with what the document was, where the collection keeps that.
func (w *follower) gone() error {
	if was := w.field("fullDocumentBeforeChange"); was.Type == bson.TypeEmbeddedDocument {
		return w.row(record.Delete, was)
	}
	return w.taken(func() error { return w.gather.remove(w.field("documentKey", mongodb.KeyColumn)) })
}

// taken notes the version of a row that is gathered, or refused.
func (w *follower) taken(do func() error) error {
	rows, refused := w.gather.decoder.Rows(), len(w.gather.refused)
	if err := do(); err != nil {
		return err
	}
	at := time.Unix(int64(w.at.Time>>32), 0).UnixMicro()
	if wall, ok := w.field("wallTime").Millis(); ok {
		at = wall * 1000
	}
	if w.gather.decoder.Rows() > rows {
		w.numbers, w.ordinals, w.times = append(w.numbers, w.at.Time), append(w.ordinals, w.at.Ordinal), append(w.times, at)
	}
	for i := refused; i < len(w.gather.refused); i++ {
		r := &w.gather.refused[i]
		r.Version.Lo, r.Version.Index, r.EventTime = w.at.Time, w.at.Ordinal, at
	}
	return nil
}

// send gives what was gathered.
func (w *follower) send(ctx context.Context) error {
	if w.gather.empty() {
		return nil
	}
	numbers, ordinals, times := w.numbers, w.ordinals, w.times
	w.numbers, w.ordinals, w.times = nil, nil, nil
	chunk, err := w.gather.chunk(ctx, stamp{op: record.Update, to: pack(w.at), set: func(sys *record.System) {
		sys.Versions.Lo, sys.Versions.Index, sys.EventTimes = numbers, ordinals, times
	}})
	if err != nil {
		return err
	}
	w.told = time.Now()
	return w.feed.give(chunk)
}

// dropped takes the end of the collection: all that was in it is gone.
func (w *follower) dropped(ctx context.Context) error {
	if err := w.send(ctx); err != nil {
		return err
	}
	layout, err := w.source.layout(w.collection)
	if err != nil {
		return err
	}
	b := record.NewBuilder(layout.Schema, 1)
	b.Next()
	w.source.system(w.collection, w.at.Time, record.Truncate, time.Now())(1, b.System())
	b.System().Versions.Index = []uint32{w.at.Ordinal}
	return w.feed.give(record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: pack(w.at), ReadAt: time.Now()})
}
