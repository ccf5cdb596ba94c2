package mongodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
)

// refreshEvery is how often the server is asked for its collections at most, however often lanes end.
const refreshEvery = 5 * time.Second

// fresh says whether the server need not be asked again.
func (s *Source) fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.collections {
		if c.anew != "" || c.note.Anew != "" {
			return false
		}
	}
	return time.Since(s.refreshed) < refreshEvery
}

// refresh brings the collections up to what the server has: those that are new are begun, those that were replaced are read anew, those
// that are gone are let go. What is wrong with one of them stops that one.
func (s *Source) refresh(ctx context.Context) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	db, err := s.db()
	if err != nil {
		return err
	}
	server, err := db.Inspect(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.server = server
	s.mu.Unlock()
	found, err := db.Collections(ctx, s.config.Collections)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, f := range found {
		there[f.Name] = true
		if err := s.meet(ctx, db, server, f); err != nil {
			return fmt.Errorf("collection %s: %w", f.Name, err)
		}
	}
	s.mu.Lock()
	known := s.sorted()
	s.mu.Unlock()
	for _, c := range known {
		if there[c.Name] || c.note.Strategy == byLog && c.err == nil { // the log tells that it was dropped
			continue
		}
		if err := s.miss(ctx, c); err != nil {
			return fmt.Errorf("collection %s: %w", c.Name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed = time.Now()
	return nil
}

// miss lets a collection go that the server has not any more.
func (s *Source) miss(ctx context.Context, c *collection) error {
	s.log.WarnContext(ctx, "the collection is gone; what was read of it stays", slog.String("collection", c.Name))
	if err := s.mustBegin(ctx, c, "it was dropped, and there is one of its name again"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.collections, c.Name)
	return nil
}

// meet takes a collection in as the server has it now.
func (s *Source) meet(ctx context.Context, db *mongodb.Database, server mongodb.Server, found mongodb.Collection) error {
	next, old := &collection{nulls: &atomic.Int64{}}, s.collection(found.Name)
	if old != nil {
		next = new(*old)
	}
	next.Collection = found
	err := s.bring(ctx, db, server, next, old)
	switch {
	case errors.Is(err, errEmpty):
		s.log.InfoContext(ctx, "the collection is empty; its columns are sampled when it has documents", slog.String("collection", found.Name))
		return nil
	case err != nil && (ctx.Err() != nil || fault.Of(err) == fault.Retryable):
		return err
	case err != nil && (old == nil || old.err == nil || old.err.Error() != err.Error()):
		s.log.ErrorContext(ctx, "the collection is stopped, the others go on", slog.String("collection", found.Name), slog.String("error", err.Error()))
	}
	s.noting.Lock()
	defer s.noting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.collections[found.Name]; now != nil && now.note.Epoch == next.note.Epoch { // noted or asked of it meanwhile
		next.note, next.anew, next.drained = now.note, now.anew, now.drained
	}
	next.err = err
	s.collections[found.Name] = next
	return nil
}

// bring makes the note of a collection what the server says it must be. Its error stops the collection.
func (s *Source) bring(ctx context.Context, db *mongodb.Database, server mongodb.Server, c, old *collection) error {
	if old == nil || old.err != nil {
		if s.claim != nil {
			if err := s.claim(ctx, c.Name); err != nil {
				return err
			}
		}
		known, err := s.load(ctx, c)
		if err != nil {
			return err
		}
		if !known {
			return s.again(ctx, db, server, c, "")
		}
	}
	why, err := s.outlived(ctx, db, server, c, old)
	if err != nil || why == "" {
		return err
	}
	return s.again(ctx, db, server, c, why)
}

// outlived says why a collection must be read anew, or "".
func (s *Source) outlived(ctx context.Context, db *mongodb.Database, server mongodb.Server, c, old *collection) (string, error) {
	declared := s.config.declared(c.Name)
	switch {
	case c.note.Anew != "":
		return c.note.Anew, nil
	case c.anew != "":
		return c.anew, nil
	case c.note.UUID != c.UUID && c.note.Strategy != byLog: // the log tells that it was dropped
		return "another collection has its name than before", nil
	case declared != nil && !reflect.DeepEqual(declared, c.note.Columns):
		return "its columns are declared otherwise than before", nil
	case old != nil && old.err == nil:
		return "", nil
	}
	m, err := s.means(ctx, db, server, c)
	if err != nil {
		return "", err
	}
	c.indexed = m.indexed
	if only := s.config.Capture.Strategy; only != auto && only != c.note.Strategy {
		return fmt.Sprintf("the strategy was %s and is %s now", c.note.Strategy, only), nil
	}
	if lack := s.lacks(m, c.note.Strategy); lack != nil {
		return fmt.Sprintf("strategy %s cannot be had any more: %s", c.note.Strategy, lack.Reason), nil
	}
	return "", nil
}

// asked is why a collection is read anew that somebody has rewound.
const asked = "it was asked for"

// again makes the next incarnation of a stream: the collection is read anew, and what is gone from it goes from the sinks when all of
// it was read. The old lanes end nowhere: their names carry the epoch.
func (s *Source) again(ctx context.Context, db *mongodb.Database, server mongodb.Server, c *collection, why string) (err error) {
	if c.note.Epoch == 1<<16-1 {
		return &fault.Error{Code: "ACQ-MG-031", Place: c.Name, Err: errors.New("the collection was read anew 65,535 times"), Remedy: "give it another name"}
	}
	before := *c
	defer func() {
		if err != nil { // it may be had later; lanes of an incarnation that is not known would end, and be done for good
			c.note, c.anew, c.drained = before.note, before.anew, before.drained
		}
	}()
	c.anew, c.drained = "", false
	c.note = note{
		UUID: c.UUID, Epoch: before.note.Epoch + 1, Columns: before.note.Columns, Declared: before.note.Declared, Schema: before.note.Schema,
		Began: time.Now().UTC(), Why: why,
	}
	if why != "" {
		s.log.WarnContext(ctx, "the collection is read anew", slog.String("collection", c.Name), slog.String("reason", why))
	}
	if err := s.choose(ctx, db, server, c); err != nil {
		return err
	}
	if why == "" || why == asked || s.config.declared(c.Name) != nil {
		if err := s.setColumns(ctx, c); err != nil {
			return err
		}
	}
	s.sayColumns(ctx, c)
	layout, err := s.layout(c)
	if err != nil {
		return err
	}
	c.note.Schema, _ = c.note.Schema.With(layout.Schema)
	if err := s.split(ctx, db, c); err != nil {
		return err
	}
	s.noting.Lock()
	err = s.put(ctx, c)
	s.noting.Unlock()
	if err != nil {
		return err
	}
	return s.forget(ctx, before.note, c.Name)
}
