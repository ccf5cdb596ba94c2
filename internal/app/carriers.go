package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/sources"
)

// askTime bounds the question which tables a database has.
const askTime = 5 * time.Second

// streams are the tables that a database had when it was last asked.
type streams struct {
	names []string
	err   error // it cannot be asked; names are of before
}

// tablesNow asks the databases for their tables, side by side. One that does not answer is told with what it had before.
func (s *Service) tablesNow(ctx context.Context) map[*turn]streams {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex
	out := map[*turn]streams{}
	for i, t := range s.turns {
		if t == nil {
			continue
		}
		tables, ok := s.sources[i].(sources.Tables)
		if !ok {
			continue
		}
		asking.Go(func() {
			found, err := tables.Streams(ctx)
			now := streams{err: err}
			for _, f := range found {
				now.names = append(now.names, f.Schema.Stream)
			}
			mu.Lock()
			defer mu.Unlock()
			out[t] = now
		})
	}
	asking.Wait()
	s.claiming.Lock()
	defer s.claiming.Unlock()
	for t, now := range out {
		if now.err == nil {
			s.known[t] = now.names
		} else {
			out[t] = streams{s.known[t], now.err}
		}
	}
	return out
}

// carriers gives the pipelines that carry a table, which the request then names in full. A name that is a table of two databases is
// refused with both, one that is none with the near one.
func (s *Service) carriers(ctx context.Context, r *jobs.SyncRequest) ([]*turn, error) {
	asked, err := s.databases(only(r.SourceDB))
	if err != nil {
		return nil, err
	}
	found := s.tablesNow(ctx)
	var carry []*turn
	var full, known []string
	var silent error
	for _, t := range asked {
		of := found[t]
		known = append(known, of.names...)
		if of.err != nil {
			silent = errors.Join(silent, of.err)
		}
		for _, name := range of.names {
			if name == r.Table || strings.HasSuffix(name, "."+r.Table) && !slices.Contains(of.names, r.Table) {
				carry, full = append(carry, t), append(full, name)
			}
		}
	}
	slices.Sort(known)
	switch {
	case len(carry) == 0 && silent != nil:
		return nil, &fault.Error{
			Class: fault.Retryable, Code: "ACQ-API-008", Place: r.Table, Err: fmt.Errorf("no database that answers has such a table: %w", silent),
			Remedy: "look at GET /health, and ask again when all of them answer",
		}
	case len(carry) == 0:
		return nil, &jobs.UnknownError{Name: r.Table, Near: config.Nearest(r.Table, known), Known: slices.Compact(known)}
	}
	for i, t := range carry {
		if t.declared.Source != carry[0].declared.Source || full[i] != full[0] {
			return nil, &jobs.AmbiguousError{Name: r.Table, In: placesOf(carry, full)}
		}
	}
	r.Table = full[0]
	if r.SourceDB != "" {
		r.SourceDB = serverOf(carry[0].declared.Source)
	}
	return carry, nil
}

func only(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// placesOf names where a table was found: by the kind of the database, or by the source where that says nothing.
func placesOf(carry []*turn, full []string) (out []string) {
	for i, t := range carry {
		name := serverOf(t.declared.Source)
		if slices.ContainsFunc(carry, func(o *turn) bool {
			return o.declared.Source != t.declared.Source && serverOf(o.declared.Source) == name
		}) {
			name = t.declared.Source.Name
		}
		if name += ": " + full[i]; !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
