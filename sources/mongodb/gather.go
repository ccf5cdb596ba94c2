package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
)

// A chunk ends at so many rows, or so many bytes of documents.
const (
	chunkRows  = 10_000
	chunkBytes = 4 << 20
)

// mostRefused is how many documents that can be no records wait for their chunk.
const mostRefused = 10_000

// gather makes chunks of documents of a collection. It is for one goroutine.
type gather struct {
	source     *Source
	collection *collection
	decoder    *mongodb.Decoder
	refused    []record.Refused
	ops        []record.Op // of the rows; none: all are the same
}

func (s *Source) gather(c *collection) (*gather, error) {
	layout, err := s.layout(c)
	if err != nil {
		return nil, err
	}
	return &gather{source: s, collection: c, decoder: layout.Decoder()}, nil
}

// add takes a document. One that can be no record is kept for the dead letters.
func (g *gather) add(doc []byte) error { return g.refuse(g.decoder.Add(doc)) }

// put takes a document with what happened to it. A chunk has documents of put and remove, or of add.
func (g *gather) put(doc []byte, op record.Op) error { return g.with(op, g.decoder.Add(doc)) }

// remove takes the _id of a document that is gone.
func (g *gather) remove(id mongodb.Value) error { return g.with(record.Delete, g.decoder.AddKey(id)) }

func (g *gather) with(op record.Op, err error) error {
	if err != nil {
		return g.refuse(err)
	}
	g.ops = append(g.ops, op)
	return nil
}

func (g *gather) refuse(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*mongodb.RowError](err)
	if !ok {
		return err
	}
	if len(g.refused) == mostRefused {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MG-034", Place: g.collection.Name, Err: fmt.Errorf("%d documents one after the other can be no records", mostRefused),
			Remedy: "look at the dead letters, and set on_unrepresentable: text",
		}
	}
	g.refused = append(g.refused, record.Refused{
		Stream: g.collection.Name, Column: e.Column, Raw: e.Raw, Err: e.Poison(g.collection.Name),
		Version: record.Version{Epoch: g.collection.note.Epoch}, Source: "mongodb." + g.source.config.Database + "." + g.collection.Name,
	})
	return nil
}

// full says whether it is time for a chunk.
func (g *gather) full() bool {
	return g.decoder.Rows()+len(g.refused) >= g.source.chunkRows || g.decoder.Bytes() >= chunkBytes
}

// empty says whether nothing was gathered.
func (g *gather) empty() bool { return g.decoder.Rows() == 0 && len(g.refused) == 0 }

// stamp is what the records of a chunk have in common.
type stamp struct {
	number uint64
	op     record.Op // where the rows do not have their own
	at     time.Time
	to     record.Position
	seen   bson.Timestamp           // the time of the log that a read must see; zero: any
	set    func(sys *record.System) // more; nil: nothing
}

// chunk gives what was gathered, and leaves nothing.
func (g *gather) chunk(ctx context.Context, m stamp) (record.Chunk, error) {
	set := g.source.system(g.collection, m.number, m.op, m.at)
	ops := g.ops
	b, err := g.decoder.Batch(func(rows int, sys *record.System) {
		set(rows, sys)
		if len(ops) > 0 {
			sys.Ops = ops
		}
		if m.set != nil {
			m.set(sys)
		}
	})
	if err != nil {
		return record.Chunk{}, err
	}
	for i := range g.refused {
		if r := &g.refused[i]; r.EventTime == 0 { // the log's have their own
			r.Version.Lo, r.EventTime = m.number, m.at.UnixMicro()
		}
	}
	chunk := record.Chunk{Refused: g.refused, To: m.to, ReadAt: time.Now()}
	g.refused, g.ops = nil, nil
	g.source.tally(g.collection.Name, g.decoder.Unfit())
	if b == nil {
		return chunk, nil
	}
	chunk.Batches = []*record.Batch{b}
	if err := g.source.met(ctx, g.collection.Name, g.collection.note.Epoch, b.Schema); err != nil {
		chunk.Release()
		return record.Chunk{}, err
	}
	return chunk, nil
}

// tally counts values that their columns cannot hold, for the report.
func (s *Source) tally(stream string, unfit map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unfit[stream] == nil {
		s.unfit[stream] = unfit
		return
	}
	for column, n := range unfit {
		s.unfit[stream][column] += n
	}
}
