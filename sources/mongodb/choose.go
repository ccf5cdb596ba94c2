package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// ranking is the strategies, best first.
var ranking = []string{byLog, byTime, bySweep} //nolint:gochecknoglobals // a constant table

// unfitCode is of collections that cannot have the strategy that the configuration names.
const unfitCode = "ACQ-MG-040"

// means is what a server and a collection have of what strategies need.
type means struct {
	logged  bool
	indexed bool // by the field of times
	ours    bool // there is an index of capture install
}

func (s *Source) means(ctx context.Context, db *mongodb.Database, server mongodb.Server, c *collection) (means, error) {
	m := means{logged: server.Logged()}
	indexes, err := db.Indexes(ctx, c.Name)
	for _, i := range indexes {
		m.indexed = m.indexed || i.Field == s.config.Capture.Column && !i.Partial // documents are found by it without reading all
		m.ours = m.ours || i.Name == s.indexName()
	}
	return m, err
}

// lacks says why a collection cannot have a strategy; nil: it can. One that the configuration names needs no index.
func (s *Source) lacks(m means, strategy string) *sources.Missing {
	missing := sources.Missing{Strategy: strategy}
	switch {
	case strategy == byLog && !m.logged:
		missing.Reason, missing.Remedy = "the server stands alone, and only a replica set keeps a log", "make it a replica set of one: rs.initiate()"
	case strategy == byTime && !m.indexed && s.config.Capture.Strategy == auto:
		missing.Reason = "no index begins with " + s.config.Capture.Column
		missing.Remedy = "where every write sets it: acequia capture install --strategy time --apply"
	default:
		return nil
	}
	return &missing
}

// best gives the best strategy that a collection can have now, and why it cannot have those before it.
func (s *Source) best(m means) (strategy string, missing []sources.Missing) {
	candidates := ranking
	if only := s.config.Capture.Strategy; only != auto {
		candidates = []string{only}
	}
	for _, strategy := range candidates {
		reason := s.lacks(m, strategy)
		if reason == nil {
			return strategy, missing
		}
		missing = append(missing, *reason)
	}
	return "", missing
}

// choose decides how a collection's changes are found, and where following begins. It is asked before the first read of a backfill.
func (s *Source) choose(ctx context.Context, db *mongodb.Database, server mongodb.Server, c *collection) error {
	m, err := s.means(ctx, db, server, c)
	if err != nil {
		return err
	}
	strategy, missing := s.best(m)
	if strategy == "" {
		return &fault.Error{
			Class: fault.Fatal, Code: unfitCode, Place: c.Name, Err: fmt.Errorf("strategy %s cannot be had: %s", missing[0].Strategy, missing[0].Reason),
			Remedy: cmp.Or(missing[0].Remedy, "choose another capture.strategy"),
		}
	}
	c.note.Strategy, c.indexed = strategy, m.indexed
	var at record.Position
	switch strategy {
	case byTime:
		at = s.beginTime(server, c)
	case byLog:
		at, err = beginLog(server)
	}
	if err != nil {
		return err
	}
	c.note.Cursor = string(at)
	s.sayChoice(ctx, c, missing)
	return nil
}

// sayChoice logs how a collection is followed, and why not better.
func (s *Source) sayChoice(ctx context.Context, c *collection, missing []sources.Missing) {
	var why []string
	for _, one := range missing {
		why = append(why, one.Strategy+": "+one.Reason)
	}
	attrs := []slog.Attr{slog.String("collection", c.Name), slog.String("strategy", c.note.Strategy)}
	if len(why) > 0 {
		attrs = append(attrs, slog.String("not", strings.Join(why, "; ")))
	}
	if risks := s.risks(c, s.shared()); len(risks) > 0 {
		attrs = append(attrs, slog.String("risks", strings.Join(risks, "; ")))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "how changes of the collection are found", attrs...)
}

// risks says what is not seen of a collection, and what that rests on.
func (s *Source) risks(c *collection, shared bool) []string {
	switch c.note.Strategy {
	case bySweep:
		return []string{fmt.Sprintf("each sweep reads the whole collection; what was changed and changed back between two, %s apart, is not seen", s.config.every(bySweep))}
	case byTime:
		column := s.config.Capture.Column
		out := []string{
			"deletes are found by acequia sweep alone",
			fmt.Sprintf("a change is seen if every write sets %s, by a clock that is less than %s behind the server's ($currentDate is best)", column, s.margin(shared)),
		}
		if c.nulls != nil && c.nulls.Load() > 0 {
			out = append(out, fmt.Sprintf("%d documents have no date in %s, and their changes are not seen", c.nulls.Load(), column))
		}
		if !c.indexed {
			out = append(out, fmt.Sprintf("no index begins with %s, so that each poll reads the whole collection", column))
		}
		return out
	}
	return nil
}

var _ sources.Checker = (*Source)(nil)

// Check connects, and looks whether there are collections that can be read, and followed as the settings say. It changes nothing.
func (s *Source) Check(ctx context.Context) error {
	db, err := s.db()
	if err != nil {
		return err
	}
	server, err := db.Inspect(ctx)
	if err != nil {
		return err
	}
	found, err := db.Collections(ctx, s.config.Collections)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range found {
		c := &collection{Collection: f}
		if err := db.Collection(f.Name).FindOne(ctx, bson.D{}).Err(); err != nil && !mongodb.None(err) {
			errs = append(errs, mongodb.Explain(err, "read "+f.Name, f.Name))
			continue
		}
		m, err := s.means(ctx, db, server, c)
		if err != nil {
			return err
		}
		if strategy, missing := s.best(m); strategy == "" {
			errs = append(errs, &fault.Error{Class: fault.Fatal, Code: unfitCode, Place: f.Name, Err: errors.New(missing[0].Reason), Remedy: missing[0].Remedy})
		}
	}
	return errors.Join(errs...)
}
