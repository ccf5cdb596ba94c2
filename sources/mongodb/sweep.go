package mongodb

import (
	"context"
	"io"
	"strings"

	"github.com/cespare/xxhash/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// blockRows is how many documents a block of the index has when it is made.
const blockRows = 10_000

// unreadable begins the key of a document whose _id cannot be read.
const unreadable = "?"

// sweeper reads a collection in the order of its keys and gives what is not as the index says: documents that are new or other, and the
// deletes of those that are gone.
type sweeper struct {
	source     *Source
	feed       *feed
	collection *collection
	db         *mongodb.Database
	gather     *gather
	durable    place // when the lane was opened
	given      place // the last that was given
	to         record.Position
	emitted    bool      // in this round
	op         record.Op // of what the index does not know
}

// sweepPart opens the first read of a part, which makes its index.
func (s *Source) sweepPart(ctx context.Context, c *collection, part int, after string, from record.Position) sources.Reader {
	return newFeed(ctx, from, func(ctx context.Context, f *feed) error {
		w, err := s.sweeper(f, c, place{Part: part, Key: after})
		if err != nil {
			return err
		}
		w.op = record.Snapshot
		if after == endOfKeys {
			return nil
		}
		return w.part(ctx, part)
	})
}

// sweepAll opens the lane that sweeps again and again. Where the first reads stand does not matter: they have durably ended.
func (s *Source) sweepAll(ctx context.Context, c *collection, from record.Position) (sources.Reader, error) {
	at := place{Round: 1}
	if from != "" {
		var err error
		if at, err = unpack[place](c.Name, from); err != nil {
			return nil, err
		}
	}
	return newFeed(ctx, from, func(ctx context.Context, f *feed) error {
		w, err := s.sweeper(f, c, at)
		if err != nil {
			return err
		}
		w.op = record.Insert
		return w.rounds(ctx)
	}), nil
}

func (s *Source) sweeper(f *feed, c *collection, durable place) (*sweeper, error) {
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	g, err := s.gather(c)
	return &sweeper{source: s, feed: f, collection: c, db: db, gather: g, durable: durable, given: durable}, err
}

// rounds sweeps until the collection is another one, or the run only wants what is there. A round begins when all of the one before is
// durable: from then on its index is believed.
func (w *sweeper) rounds(ctx context.Context) error {
	s, c := w.source, w.collection
	for {
		if now := s.collection(c.Name); now == nil || now.note.Epoch != c.note.Epoch {
			return io.EOF
		}
		w.given = place{Round: w.durable.Round + 1}
		for part := range c.note.Parts {
			if err := w.part(ctx, part); err != nil {
				return err
			}
		}
		if s.drains {
			s.mark(c.Name, c.note.Epoch, func(c *collection) { c.drained = true })
			return io.EOF
		}
		if w.emitted {
			if err := w.feed.await(ctx, w.to); err != nil {
				return err
			}
			w.emitted, w.durable = false, place{Round: w.given.Round, Part: len(c.note.Parts)}
		}
		if err := s.pause(ctx, bySweep); err != nil {
			return err
		}
	}
}

// part sweeps one part of the collection, block by block.
func (w *sweeper) part(ctx context.Context, part int) error {
	x, err := w.source.index(ctx, w.collection, part)
	if err != nil {
		return err
	}
	bounds := w.collection.note.Parts[part]
	after, begin := bounds.After, 0
	if w.op == record.Snapshot && w.durable.Key != "" { // the first read goes on
		for begin < len(x.Slots) && x.Slots[begin].UpTo != w.durable.Key {
			begin++
		}
		if begin == len(x.Slots) {
			return x.damaged(nil)
		}
		after, begin = w.durable.Key, begin+1
	}
	before := w.durable.Part > part
	for at := begin; at < len(x.Slots); at++ {
		b, err := x.load(ctx, at)
		if err != nil {
			return err
		}
		s := &sweeping{
			sweeper: w, index: x, at: at, part: part, after: after, old: b.entries,
			believed: w.durable.believed(b, part, before || w.passed(x, at)),
		}
		s.was = *b
		if err := s.run(ctx); err != nil {
			return err
		}
		at, after = s.at, s.index.Slots[s.at].UpTo
	}
	return nil
}

// passed says whether a block stands before the place up to which a part is durable.
func (w *sweeper) passed(x *index, at int) bool {
	for i := at; i < len(x.Slots); i++ {
		if x.Slots[i].end() == w.durable.Key {
			return true
		}
	}
	return false
}

// sweeping is the sweep of one block, which may become several.
type sweeping struct {
	*sweeper
	index    *index
	at, part int
	after    string
	was      block
	old      map[string]entry // of the block, without those that were met
	believed bool
	seen     map[string]entry // documents that are there, and deletes that are given
	last     string           // key
	emits    bool             // something is given of it
	pruned   bool             // what was given before is known to have reached the sinks
}

// run sweeps the block.
func (w *sweeping) run(ctx context.Context) error {
	w.seen = map[string]entry{}
	r := mongodb.KeyRange{After: w.after, UpTo: w.index.Slots[w.at].UpTo}
	q, err := r.Filter()
	if err != nil {
		return err
	}
	err = w.source.scan(ctx, w.db, w.collection.Name, q, func(doc bson.Raw) error {
		id, _ := mongodb.Field(doc, mongodb.KeyColumn)
		key, err := mongodb.AppendKey(nil, id)
		if err != nil { // it becomes a dead letter, once
			return w.meet(unreadable+string(id.Data), doc)
		}
		if err := w.meet(string(key), doc); err != nil || !mongodb.Divides(string(key)) {
			return err
		}
		w.last = string(key)
		if w.gather.full() || len(w.seen) >= 2*blockRows || len(w.old) == 0 && len(w.seen) >= blockRows {
			return w.cut(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.missing(ctx); err != nil {
		return err
	}
	return w.end(ctx)
}

// meet compares a document with what the index says.
func (w *sweeping) meet(key string, doc bson.Raw) error {
	hash := xxhash.Sum64(doc)
	had, known := w.old[key]
	delete(w.old, key)
	w.seen[key] = entry{hash: hash}
	if known && w.believed && had.hash == hash && !had.gone {
		return nil
	}
	w.emits = true
	op := w.op
	if known && !had.gone && op != record.Snapshot {
		op = record.Update
	}
	return w.gather.put(doc, op)
}

// missing gives the deletes of what the index has and the server has not, when it is asked for by its key either.
func (w *sweeping) missing(ctx context.Context) error {
	var ids bson.A
	for key, e := range w.old {
		if w.believed && e.gone || strings.HasPrefix(key, unreadable) {
			delete(w.old, key) // its delete has reached the sinks, or it never did
			w.pruned = true
			continue
		}
		id, err := mongodb.ParseKey(key)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		n := min(len(ids), lookUpKeys)
		q := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids[:n]}}}}
		err := w.source.query(ctx, w.db, w.collection.Name, q, func(doc bson.Raw) error {
			return w.meet(keyOf(doc), doc)
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	for key, e := range w.old {
		id, err := mongodb.KeyValue(key)
		if err != nil {
			return fault.Stop(err)
		}
		if err := w.gather.remove(id); err != nil {
			return err
		}
		w.seen[key], w.emits = entry{hash: e.hash, gone: true}, true
	}
	return nil
}

// cut ends the block at the last document, and goes on with the rest as another.
func (w *sweeping) cut(ctx context.Context) error {
	slot := w.index.Slots[w.at]
	now, err := w.index.store(ctx, w.last, &block{round: w.round(), entries: w.seen})
	if err != nil {
		return err
	}
	rest := slot
	rest.ID = 0
	if len(w.old) > 0 { // as much to be believed as before
		if rest, err = w.index.store(ctx, slot.UpTo, &block{round: w.was.round, entries: w.old}); err != nil {
			return err
		}
	}
	if err := w.index.replace(ctx, w.at, now, rest); err != nil {
		return err
	}
	if err := w.send(ctx, w.last); err != nil {
		return err
	}
	w.at++
	w.after, w.seen, w.emits, w.pruned = w.last, map[string]entry{}, false, false
	return nil
}

// end keeps the block and gives what was gathered.
func (w *sweeping) end(ctx context.Context) error {
	slot := w.index.Slots[w.at]
	if w.emits || w.pruned {
		now, err := w.index.store(ctx, slot.UpTo, &block{round: w.round(), entries: w.seen})
		if err != nil {
			return err
		}
		if err := w.index.replace(ctx, w.at, now); err != nil {
			return err
		}
	}
	return w.send(ctx, slot.end())
}

// round is when what the block says was given.
func (w *sweeping) round() uint64 {
	if w.emits {
		return w.given.Round
	}
	return w.was.round
}

// send gives what was gathered, with a number from after it was read: what a read beside it saw later, the next round sees.
func (w *sweeping) send(ctx context.Context, key string) error {
	if w.gather.empty() {
		return nil
	}
	server, err := w.db.Inspect(ctx)
	if err != nil {
		return err
	}
	m := stamp{op: record.Snapshot, at: server.Clock}
	if m.number, err = w.source.state.Next(ctx, w.collection.Name); err != nil {
		return err
	}
	w.given.Part, w.given.Key = w.part, key
	if m.to = pack(w.given); w.op == record.Snapshot {
		m.to = pack(rangePosition{key})
	}
	chunk, err := w.gather.chunk(ctx, m)
	if err != nil {
		return err
	}
	w.to, w.emitted = chunk.To, true
	return w.feed.give(chunk)
}
