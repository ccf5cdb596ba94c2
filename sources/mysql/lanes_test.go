package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// reads plays an engine: it reads lanes that end, in the order that they ask for, and remembers where each stands.
type reads struct {
	source    *mysql.Source
	at        map[string]record.Position
	ended     map[string]bool
	rows      map[string][]string // JSON with version and operation, by stream, in the order of the reads
	schemas   map[string]*record.Schema
	truncated map[string]record.Version
	failed    map[string]error
	most      int // chunks of a lane in one go; 0: all
}

func newReads(s *mysql.Source) *reads {
	return &reads{
		source: s, at: map[string]record.Position{}, ended: map[string]bool{}, rows: map[string][]string{},
		schemas: map[string]*record.Schema{}, truncated: map[string]record.Version{}, failed: map[string]error{},
	}
}

// all reads until no lane that ends is left, or can go on.
func (r *reads) all(t *testing.T) {
	t.Helper()
	for {
		lanes, err := r.source.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		went := false
		for _, l := range lanes {
			waits := slices.ContainsFunc(l.After, func(id string) bool { return !r.ended[id] })
			if l.Endless || waits || r.ended[l.ID] || r.failed[l.ID] != nil {
				continue
			}
			went = true
			r.lane(t, l)
		}
		if !went {
			return
		}
	}
}

func (r *reads) lane(t *testing.T, l sources.Lane) {
	t.Helper()
	reader, err := r.source.Open(t.Context(), l, r.at[l.ID])
	if err != nil {
		r.failed[l.ID] = err
		return
	}
	defer func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}()
	for n := 0; r.most == 0 || n < r.most; n++ {
		chunk, err := reader.Read(t.Context())
		switch {
		case errors.Is(err, io.EOF):
			r.ended[l.ID] = true
			return
		case err != nil:
			r.failed[l.ID] = err
			return
		}
		r.take(chunk)
		r.at[l.ID] = chunk.To
		if err := reader.Settle(context.WithoutCancel(t.Context()), chunk.To, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *reads) take(chunk record.Chunk) {
	for _, b := range chunk.Batches {
		stream := b.Schema.Stream
		r.schemas[stream] = b.Schema
		for row := range b.Rows {
			v := b.System.Versions.At(row)
			if b.System.Op(row) == record.Truncate {
				r.truncated[stream] = v
				continue
			}
			r.rows[stream] = append(r.rows[stream], string(b.AppendJSON(nil, row)))
		}
	}
	chunk.Release()
}

func (r *reads) failures() string {
	var all []string
	for id, err := range r.failed {
		all = append(all, fmt.Sprintf("%s: %v", id, err))
	}
	return strings.Join(slices.Sorted(slices.Values(all)), "\n")
}
