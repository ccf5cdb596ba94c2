package mongodb

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Strategy time finds documents by a field that every writer sets to the time of the write. The watermark of a round is a time that no
// write that is under way can still set: the server's clock, less a margin, which is how far the clocks of writers may be behind and how
// long they may take. It is asked for before the documents are, and never goes back.

// stretch is where a round stands. Times are milliseconds since 1970, as BSON's dates are.
type stretch struct {
	Since int64  `json:"c"`           // documents before it are given
	UpTo  int64  `json:"w,omitempty"` // the watermark of the round under way; 0: none is
	Time  int64  `json:"t,omitempty"` // of the last document that was given of it
	Key   string `json:"k,omitempty"`
}

// follow opens the lane that gives what changes.
func (s *Source) follow(ctx context.Context, c *collection, from record.Position) (sources.Reader, error) {
	at := from
	if at == "" {
		at = record.Position(c.note.Cursor)
	}
	switch c.note.Strategy {
	case bySweep:
		return s.sweepAll(ctx, c, from)
	case byLog:
		return s.followLog(ctx, c, from, at)
	}
	begin, err := unpack[stretch](c.Name, at)
	if err != nil {
		return nil, err
	}
	return newFeed(ctx, from, func(ctx context.Context, f *feed) error { return s.followTime(ctx, f, c, begin) }), nil
}

func (s *Source) margin(shared bool) time.Duration {
	switch {
	case s.config.Capture.Margin > 0:
		return s.config.Capture.Margin
	case shared:
		return sharedMargin
	}
	return aloneMargin
}

// beginTime takes the watermark: what is under way will write later times.
func (s *Source) beginTime(server mongodb.Server, c *collection) record.Position {
	c.nulls = &atomic.Int64{}
	return pack(stretch{Since: server.Clock.Add(-s.margin(server.Logged())).UnixMilli()})
}

// timeless gives what counts the documents that have no time as the backfill reads them (a query for them would read all once more), and
// what says how many there were.
func (s *Source) timeless(c *collection) (count func(doc bson.Raw), tell func(context.Context)) {
	if c.note.Strategy != byTime {
		return func(bson.Raw) {}, func(context.Context) {}
	}
	column, n := s.config.Capture.Column, int64(0)
	path := strings.Split(column, ".")
	count = func(doc bson.Raw) {
		if v, ok := mongodb.Field(doc, path...); !ok || v.Type != bson.TypeDateTime {
			n++
		}
	}
	return count, func(ctx context.Context) {
		if n == 0 {
			return
		}
		c.nulls.Add(n)
		s.log.WarnContext(ctx, "documents have no time, and their changes are not seen", slog.String("collection", c.Name), slog.String("field", column),
			slog.Int64("documents", n), slog.String("remedy", "acequia sweep"))
	}
}

// followTime polls until the collection is drained, or there is an end to it.
func (s *Source) followTime(ctx context.Context, f *feed, c *collection, at stretch) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	server, err := db.Inspect(ctx)
	if err != nil {
		return err
	}
	until := server.Clock.UnixMilli()
	for {
		if now := s.collection(c.Name); now == nil || now.note.Epoch != c.note.Epoch {
			return io.EOF
		}
		if server, err = db.Inspect(ctx); err != nil {
			return err
		}
		if at.UpTo == 0 {
			at.UpTo = server.Clock.Add(-s.margin(server.Logged())).UnixMilli()
		}
		more := false
		if at.UpTo > at.Since { // it never goes back
			if more, err = s.pollTime(ctx, f, db, c, &at, server.Clock); err != nil {
				return err
			}
		}
		at.UpTo, at.Time, at.Key = 0, 0, ""
		if s.drains && at.Since > until {
			s.mark(c.Name, c.note.Epoch, func(c *collection) { c.drained = true })
			return io.EOF
		}
		if !more {
			if err := s.pause(ctx, c.note.Strategy); err != nil {
				return err
			}
		}
	}
}

// pause waits until a collection is asked again.
func (s *Source) pause(ctx context.Context, strategy string) error {
	every := s.config.every(strategy)
	if s.drains { // someone waits for the end
		every = min(every, leastMargin)
	}
	wait := time.NewTimer(every)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pollTime gives the documents of a round. The number of a version is taken when its documents were read: what a read beside it, with a
// smaller number, saw and this one did not, a later round gives.
func (s *Source) pollTime(ctx context.Context, f *feed, db *mongodb.Database, c *collection, at *stretch, clock time.Time) (more bool, err error) {
	g, err := s.gather(c)
	if err != nil {
		return false, err
	}
	column := s.config.Capture.Column
	path := strings.Split(column, ".")
	queries, err := at.queries(column)
	if err != nil {
		return false, err
	}
	send := func(to stretch) error {
		if g.empty() {
			return nil
		}
		more = true
		m := stamp{op: record.Update, at: clock, to: pack(to)}
		if m.number, err = s.state.Next(ctx, c.Name); err != nil {
			return err
		}
		chunk, err := g.chunk(ctx, m)
		if err != nil {
			return err
		}
		return f.give(chunk)
	}
	order := bson.D{{Key: column, Value: 1}, {Key: "_id", Value: 1}}
	for _, q := range queries {
		cursor, err := db.Collection(c.Name).Find(ctx, q, options.Find().SetSort(order).SetBatchSize(batchRows).SetAllowDiskUse(true))
		if err == nil {
			err = each(ctx, cursor, func(doc bson.Raw) error {
				if err := g.add(doc); err != nil || !g.full() {
					return err
				}
				v, _ := mongodb.Field(doc, path...)
				if key := keyOf(doc); mongodb.Divides(key) { // else what was given since comes again after a crash
					at.Time, _ = v.Millis()
					at.Key = key
				}
				return send(*at)
			})
		}
		if err != nil {
			return more, mongodb.Explain(err, "poll "+c.Name, c.Name)
		}
	}
	at.Since = at.UpTo
	return more, send(stretch{Since: at.Since})
}

// queries gives those of a round, in order: of one that was cut off, first the documents of the time at which it was, whose keys come
// behind the last in the order of the server.
func (r stretch) queries(column string) ([]bson.D, error) {
	date := func(ms int64) bson.DateTime { return bson.DateTime(ms) }
	between := func(op string, from int64) bson.D {
		return bson.D{{Key: column, Value: bson.D{{Key: op, Value: date(from)}, {Key: "$lt", Value: date(r.UpTo)}}}}
	}
	if r.Key == "" {
		return []bson.D{between("$gte", r.Since)}, nil
	}
	behind, err := mongodb.KeyRange{After: r.Key}.Filter()
	same := append(bson.D{{Key: column, Value: date(r.Time)}}, behind...)
	return []bson.D{same, between("$gt", r.Time)}, err
}

// shared says whether the server is of a replica set, whose transactions take their time.
func (s *Source) shared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.Logged()
}
