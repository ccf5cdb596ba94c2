package mongodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var (
	_ sources.Tables    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ sources.Marker    = (*Source)(nil)
	_ sources.Since     = (*Source)(nil)
)

// Streams gives the collections that the settings choose. One that no run has read is sampled; an empty one that is not declared is
// left out, for nothing tells its columns.
func (s *Source) Streams(ctx context.Context) (streams []sources.Stream, err error) {
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	found, err := db.Collections(ctx, s.config.Collections)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		c, err := s.describe(ctx, f)
		if errors.Is(err, errEmpty) {
			continue
		}
		if err != nil {
			return nil, err
		}
		layout, err := s.layout(c)
		if err != nil {
			return nil, err
		}
		rows, bytes, err := db.Size(ctx, f.Name)
		if err != nil {
			return nil, err
		}
		streams = append(streams, sources.Stream{Schema: layout.Schema, Rows: rows, Bytes: bytes})
	}
	return streams, nil
}

// describe finds the columns of a collection, and remembers them for the reads that follow.
func (s *Source) describe(ctx context.Context, f mongodb.Collection) (*collection, error) {
	c := &collection{Collection: f}
	known, err := s.load(ctx, c)
	if err != nil {
		return nil, err
	}
	if !known {
		s.mu.Lock()
		had := s.asked[f.Name]
		s.mu.Unlock()
		if had != nil { // a second sample may be another
			return had, nil
		}
		if err := s.setColumns(ctx, c); err != nil {
			return nil, err
		}
	} else if declared := s.config.declared(f.Name); declared != nil {
		c.note.Columns = declared
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[f.Name] = c
	return c, nil
}

// Describe gives the schemas of the collections.
func (s *Source) Describe(ctx context.Context) ([]*record.Schema, error) {
	streams, err := s.Streams(ctx)
	schemas := make([]*record.Schema, len(streams))
	for i, stream := range streams {
		schemas[i] = stream.Schema
	}
	return schemas, err
}

// lookUp finds the collection of a stream, with the incarnation that it has now.
func (s *Source) lookUp(ctx context.Context, db *mongodb.Database, stream string) (*collection, error) {
	found, err := db.Collections(ctx, []string{stream})
	if err != nil {
		return nil, err
	}
	in, err := mongodb.Matches(s.config.Collections, stream)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if in && f.Name == stream {
			return s.describe(ctx, f)
		}
	}
	return nil, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-MG-032", Place: stream,
		Err:    errors.New("the database has no such collection, or the settings leave it out"),
		Remedy: "look at collections: in the settings of the source",
	}
}

// Split cuts the keys of a stream into parts of about rows documents, where their texts have the order that the server sees.
func (s *Source) Split(ctx context.Context, stream string, rows int) ([]sources.KeyRange, error) {
	parts := []sources.KeyRange{{}}
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	c, err := s.lookUp(ctx, db, stream)
	if err != nil {
		return nil, err
	}
	layout, err := s.layout(c)
	if err != nil || !layout.Typed() {
		return parts, err
	}
	bounds, err := quantiles(ctx, db, c.Name, int64(rows))
	if err != nil {
		return nil, err
	}
	bounds = slices.DeleteFunc(bounds, func(key string) bool { return !mongodb.Ordered(key) })
	slices.Sort(bounds) // the order of brackets by their names is another than the server's
	for _, b := range bounds {
		key := []sources.KeyValue{{Text: b}}
		parts[len(parts)-1].UpTo = key
		parts = append(parts, sources.KeyRange{After: key})
	}
	return parts, nil
}

// Scan reads a part of a stream. It is no snapshot: the server keeps none for as long. A document that is not written meanwhile is
// given as it is, once.
func (s *Source) Scan(ctx context.Context, stream string, r sources.KeyRange, each func(*record.Batch) error) error {
	return s.ask(ctx, stream, each, func(ctx context.Context, db *mongodb.Database, _ *mongodb.Layout, take func(bson.Raw) error) error {
		part, err := keyRange(r)
		if err != nil {
			return err
		}
		q, err := part.FilterByText()
		if err != nil {
			return err
		}
		return s.scan(ctx, db, stream, q, take)
	})
}

func keyRange(r sources.KeyRange) (out mongodb.KeyRange, err error) {
	for _, b := range []struct {
		from []sources.KeyValue
		to   *string
	}{{r.After, &out.After}, {r.UpTo, &out.UpTo}} {
		if b.from == nil {
			continue
		}
		if len(b.from) != 1 || !mongodb.Ordered(b.from[0].Text) {
			return out, fault.Stop(errors.New("mongodb: a range of keys that Split has not given"))
		}
		*b.to = b.from[0].Text
	}
	return out, nil
}

// lookUpKeys is how many keys a query looks up.
const lookUpKeys = 1000

// Lookup reads the records with the given keys.
func (s *Source) Lookup(ctx context.Context, stream string, keys *record.Batch, each func(*record.Batch) error) error {
	return s.ask(ctx, stream, each, func(ctx context.Context, db *mongodb.Database, layout *mongodb.Layout, take func(bson.Raw) error) error {
		for lo := 0; lo < keys.Rows; lo += lookUpKeys {
			ids := bson.A{}
			for row := lo; row < min(keys.Rows, lo+lookUpKeys); row++ {
				id, err := layout.KeyOf(keys, row)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			if err := s.query(ctx, db, stream, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, take); err != nil {
				return err
			}
		}
		return nil
	})
}

// query hands over the documents of a query, in no order.
func (s *Source) query(ctx context.Context, db *mongodb.Database, name string, q bson.D, take func(bson.Raw) error) error {
	cursor, err := db.Collection(name).Find(ctx, q, options.Find().SetBatchSize(batchRows))
	if err == nil {
		err = each(ctx, cursor, take)
	}
	return mongodb.Explain(err, "read "+name, name)
}

// ScanSince reads the documents whose field of times, that of strategy time, is not before a moment.
func (s *Source) ScanSince(ctx context.Context, stream string, since time.Time, each func(*record.Batch) error) error {
	return s.ask(ctx, stream, each, func(ctx context.Context, db *mongodb.Database, _ *mongodb.Layout, take func(bson.Raw) error) error {
		column := s.config.Capture.Column
		q := bson.D{{Key: column, Value: bson.D{{Key: "$gte", Value: bson.NewDateTimeFromTime(since)}}}}
		if err := db.Collection(stream).FindOne(ctx, bson.D{{Key: column, Value: bson.D{{Key: "$type", Value: "date"}}}}).Err(); mongodb.None(err) {
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-MG-045", Place: stream,
				Err:    fmt.Errorf("no document has a date in %s: %w", column, sources.ErrNoTimes),
				Remedy: "name the field with capture.column, or read the whole collection",
			}
		}
		return s.query(ctx, db, stream, q, take)
	})
}

// reading reads documents of a collection.
type reading func(ctx context.Context, db *mongodb.Database, layout *mongodb.Layout, take func(bson.Raw) error) error

// ask runs a read beside the lanes: its records are of the incarnation that the stream has now, with a number from before it.
func (s *Source) ask(ctx context.Context, stream string, each func(*record.Batch) error, read reading) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	c, err := s.lookUp(ctx, db, stream)
	if err != nil {
		return err
	}
	layout, err := s.layout(c)
	if err != nil {
		return err
	}
	m, err := s.stampOf(ctx, db, c)
	if err != nil {
		return err
	}
	ctx, end, err := causal(ctx, db, m.seen)
	if err != nil {
		return err
	}
	defer end()
	d := layout.Decoder()
	set := s.system(c, m.number, record.Snapshot, m.at)
	hand := func() error {
		b, err := d.Batch(set)
		if err != nil || b == nil {
			return err
		}
		defer b.Release()
		return each(b)
	}
	err = read(ctx, db, layout, func(doc bson.Raw) error {
		if err := d.Add(doc); err != nil {
			if e, ok := errors.AsType[*mongodb.RowError](err); ok {
				return e.Poison(stream)
			}
			return err
		}
		if d.Rows() >= s.chunkRows || d.Bytes() >= chunkBytes {
			return hand()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return hand()
}

// stampOf takes the number of a read that begins now: the log's time where the log follows the stream.
func (s *Source) stampOf(ctx context.Context, db *mongodb.Database, c *collection) (m stamp, err error) {
	server, err := db.Inspect(ctx)
	if err != nil {
		return m, err
	}
	m.at, m.op = server.Clock, record.Snapshot
	switch {
	case s.state == nil:
	case c.note.Strategy == byLog:
		m.number, m.seen = logNumber(server.Operation), server.Operation
	default:
		m.number, err = s.state.Next(ctx, c.Name)
	}
	return m, err
}

// Mark gives what the records of a read that begins now would have: its number is taken before whatever is read after it.
func (s *Source) Mark(ctx context.Context, stream string) (record.System, error) {
	var sys record.System
	db, err := s.db()
	if err != nil {
		return sys, err
	}
	c, err := s.lookUp(ctx, db, stream)
	if err != nil {
		return sys, err
	}
	m, err := s.stampOf(ctx, db, c)
	if err != nil {
		return sys, err
	}
	s.system(c, m.number, record.Snapshot, m.at)(1, &sys)
	return sys, nil
}
