package mongodb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

const (
	// partRows is how many documents a part of a backfill should have: a file of the lake takes as many.
	partRows = 1_000_000
	// batchRows is how many documents the server sends at a time, at most; it sends no more than 16 MiB.
	batchRows = 10_000
	// sampleKeys is how many keys of each part are looked at to find where it ends, and mostSampled how many of all.
	sampleKeys, mostSampled = 500, 100_000
)

// split cuts a collection into parts of about partRows documents by its keys.
func (s *Source) split(ctx context.Context, db *mongodb.Database, c *collection) error {
	bounds, err := quantiles(ctx, db, c.Name, s.partRows)
	if err != nil {
		return err
	}
	c.note.Parts = ranges(bounds)
	return nil
}

// ranges gives the parts between bounds, the first without a lower one and the last without an upper one.
func ranges(bounds []string) []mongodb.KeyRange {
	parts := make([]mongodb.KeyRange, 1, 1+len(bounds))
	for i, b := range bounds {
		parts[i].UpTo = b
		parts = append(parts, mongodb.KeyRange{After: b})
	}
	return parts
}

// quantiles gives keys that cut a collection into parts of about so many documents: of a sample where the server can take one, else by
// walking over all keys.
func quantiles(ctx context.Context, db *mongodb.Database, name string, part int64) ([]string, error) {
	rows, _, err := db.Size(ctx, name)
	n := int((rows - 1) / max(part, 1))
	if err != nil || n <= 0 {
		return nil, err
	}
	size := min(rows, int64(min(sampleKeys*(n+1), mostSampled)))
	id := bson.D{{Key: "_id", Value: 1}}
	cursor, err := db.Collection(name).Aggregate(ctx, bson.A{
		bson.D{{Key: "$sample", Value: bson.D{{Key: "size", Value: size}}}}, bson.D{{Key: "$project", Value: id}}, bson.D{{Key: "$sort", Value: id}},
	})
	if mongodb.Unknown(err) {
		cursor, err = db.Collection(name).Find(ctx, bson.D{}, options.Find().SetProjection(id).SetSort(id).SetBatchSize(batchRows))
	}
	if err != nil {
		return nil, mongodb.Explain(err, "look at the keys of "+name, name)
	}
	var brackets [][]string // of keys in the server's order, by the kind of key
	err = each(ctx, cursor, func(doc bson.Raw) error {
		v, _ := mongodb.Field(doc, mongodb.KeyColumn)
		key, err := mongodb.AppendKey(nil, v)
		if err != nil {
			return fault.Stop(fmt.Errorf("mongodb: a key of %s: %w", name, err))
		}
		at := mongodb.Bracket(string(key))
		for len(brackets) <= at {
			brackets = append(brackets, nil)
		}
		brackets[at] = append(brackets[at], string(key))
		return nil
	})
	if err != nil {
		return nil, mongodb.Explain(err, "look at the keys of "+name, name)
	}
	all := slices.Concat(brackets...)
	var bounds []string
	for i := 1; i <= n && len(all) > n; i++ {
		key := all[i*len(all)/(n+1)]
		if (len(bounds) == 0 || bounds[len(bounds)-1] != key) && mongodb.Divides(key) {
			bounds = append(bounds, key)
		}
	}
	return bounds, nil
}

// each hands over the documents of a cursor, and closes it.
func each(ctx context.Context, cursor *mongo.Cursor, do func(doc bson.Raw) error) error {
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }() // what could fail is told by Err
	for cursor.Next(ctx) {
		if err := do(cursor.Current); err != nil {
			return err
		}
	}
	return cursor.Err()
}

// scan hands over the documents of a query in the order of their keys. An unchanged document is given once, whatever is written
// meanwhile: its _id never changes, and that is what the server walks by.
func (s *Source) scan(ctx context.Context, db *mongodb.Database, name string, q bson.D, do func(doc bson.Raw) error) error {
	cursor, err := db.Collection(name).Find(ctx, q, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(batchRows))
	if err == nil {
		err = each(ctx, cursor, do)
	}
	return mongodb.Explain(err, "read "+name, name)
}

// keyOf is the key of a document as text; "": it has none that can be read.
func keyOf(doc []byte) string {
	v, ok := mongodb.Field(doc, mongodb.KeyColumn)
	if !ok {
		return ""
	}
	key, err := mongodb.AppendKey(nil, v)
	if err != nil {
		return ""
	}
	return string(key)
}

// rangePosition is where a part of a backfill stands: behind a key.
type rangePosition struct {
	After string `json:"after"`
}

// backfill opens a part of a collection's backfill. It may be cut off anywhere, and goes on after what is durable.
func (s *Source) backfill(ctx context.Context, c *collection, number string, after record.Position) (sources.Reader, error) {
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(c.note.Parts) {
		return nil, fault.Stop(fmt.Errorf("mongodb: collection %s has no part %q", c.Name, number))
	}
	part, at := c.note.Parts[i], rangePosition{}
	if after != "" {
		if at, err = unpack[rangePosition](c.Name, after); err != nil {
			return nil, err
		}
		if at.After != "" && at.After != endOfKeys && !mongodb.Divides(at.After) {
			return nil, fault.Stop(fmt.Errorf("mongodb: %q is no position in %s", after, c.Name))
		}
	}
	if c.note.Strategy == bySweep {
		return s.sweepPart(ctx, c, i, at.After, after), nil
	}
	if at.After == endOfKeys {
		return tabular.Ended{}, nil
	}
	part.After = cmp.Or(at.After, part.After)
	return newFeed(ctx, after, func(ctx context.Context, f *feed) error { return s.readPart(ctx, f, c, part) }), nil
}

// readPart reads a range as it stands. The rows have one version, whose number is taken before the first is read; what the log tells of
// a document wins over any backfill.
func (s *Source) readPart(ctx context.Context, f *feed, c *collection, part mongodb.KeyRange) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	g, err := s.gather(c)
	if err != nil {
		return err
	}
	m := stamp{op: record.Snapshot, at: time.Now()}
	if c.note.Strategy == byLog { // what follows gives all that the log has from there on
		begin, err := unpack[logPosition](c.Name, record.Position(c.note.Cursor))
		if err != nil {
			return err
		}
		m.seen = logTime(begin.Time)
	} else if m.number, err = s.state.Next(ctx, c.Name); err != nil {
		return err
	}
	ctx, end, err := causal(ctx, db, m.seen)
	if err != nil {
		return err
	}
	defer end()
	server, err := db.Inspect(ctx)
	if err != nil {
		return err
	}
	m.at = server.Clock
	last := part.After
	send := func() error {
		if g.empty() {
			return nil
		}
		m.to = pack(rangePosition{last})
		chunk, err := g.chunk(ctx, m)
		if err != nil {
			return err
		}
		return f.give(chunk)
	}
	q, err := part.Filter()
	if err != nil {
		return err
	}
	count, tell := s.timeless(c)
	err = s.scan(ctx, db, c.Name, q, func(doc bson.Raw) error {
		count(doc)
		if err := g.add(doc); err != nil || !g.full() {
			return err
		}
		if key := keyOf(doc); mongodb.Divides(key) { // else what was given since comes again after a crash
			last = key
		}
		return send()
	})
	if err != nil {
		return err
	}
	tell(ctx)
	last = cmp.Or(part.UpTo, endOfKeys)
	return send()
}

// endOfKeys is above all keys.
const endOfKeys = "~"

// completion gives the one record that says that a stream was read to its end in this epoch: everything of epochs before is gone.
type completion struct {
	source     *Source
	collection *collection
	done       bool
}

// completed is the position after that record.
const completed record.Position = "complete"

// Read gives the record once. What was read is not complete when the collection must be read anew.
func (r *completion) Read(context.Context) (record.Chunk, error) {
	now := r.source.collection(r.collection.Name)
	if now == nil || now.note.Epoch != r.collection.note.Epoch || now.note.Anew != "" || r.done {
		return record.Chunk{}, io.EOF
	}
	r.done = true
	layout, err := r.source.layout(r.collection)
	if err != nil {
		return record.Chunk{}, err
	}
	b := record.NewBuilder(layout.Schema, 1)
	b.Next()
	r.source.system(r.collection, 0, record.Truncate, time.Now())(1, b.System())
	return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: completed, ReadAt: time.Now()}, nil
}

// Settle has nothing to confirm.
func (*completion) Settle(context.Context, record.Position, error) error { return nil }

// Close does nothing.
func (*completion) Close() error { return nil }

// unpack reads a position that pack wrote.
func unpack[T any](stream string, from record.Position) (at T, err error) {
	if err := json.Unmarshal([]byte(from), &at); err != nil {
		return at, fault.Stop(fmt.Errorf("mongodb: %q is no position in %s: %w", from, stream, err))
	}
	return at, nil
}

// pack writes a position.
func pack(at any) record.Position {
	text, _ := json.Marshal(at) // positions are numbers and texts, which always can be
	return record.Position(text)
}
