package mysql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

// ranking is the strategies, best first.
var ranking = []string{byLog, queue, byTime} //nolint:gochecknoglobals // a constant table

// installed says whether a strategy is put into the database by someone, rather than found there.
func installed(strategy string) bool { return strategy == queue }

// unfitCode is of tables that cannot have the strategy that the configuration names.
const unfitCode = "ACQ-MY-040"

// choose decides how a table's changes are found, and where following begins. It is asked before the first read of a backfill. Where
// the strategy that the configuration names cannot be had, the table stops, and the others go on: t.err says why.
func (s *Source) choose(ctx context.Context, c *mysql.Conn, t *table) error {
	t.note.Strategy, t.note.Cursor, t.poller, t.err = "", "", nil, nil
	if !t.follows() {
		return nil
	}
	m, err := s.means(ctx, c, t)
	if err != nil {
		return err
	}
	strategy, missing := s.best(t, m)
	if strategy == "" && s.config.Capture.Strategy != auto {
		t.err = unfit(t, missing[0])
		return nil
	}
	s.sayChoice(ctx, t, m, strategy, missing)
	t.note.Strategy, t.poller, t.note.Log = strategy, s.newPoller(strategy), nil
	if strategy == byLog {
		return s.join(ctx, c, t)
	}
	if t.poller == nil {
		return nil
	}
	at, err := t.poller.begin(ctx, c, t)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == unfitCode {
		t.err = err
		return nil
	}
	t.note.Cursor = string(at)
	return err
}

// follows says whether changes of the table can be found at all: without a key no row is the same as before, and views have none.
func (t *table) follows() bool { return len(t.Key) > 0 && !t.View }

// best gives the best strategy that a table can have now, and why it cannot have those before it.
func (s *Source) best(t *table, m means) (strategy string, missing []sources.Missing) {
	candidates := ranking
	if only := s.config.Capture.Strategy; only != auto {
		candidates = []string{only}
	}
	for _, strategy := range candidates {
		reason := s.lacks(t, m, strategy)
		if reason == nil {
			return strategy, missing
		}
		missing = append(missing, *reason)
	}
	return "", missing
}

func unfit(t *table, m sources.Missing) error {
	return &fault.Error{
		Class: fault.Fatal, Code: unfitCode, Place: t.stream,
		Err: fmt.Errorf("strategy %s cannot be had: %s", m.Strategy, m.Reason), Remedy: cmp.Or(m.Remedy, "choose another capture.strategy"),
	}
}

// sayChoice logs how a table is followed, and why not better.
func (s *Source) sayChoice(ctx context.Context, t *table, m means, strategy string, missing []sources.Missing) {
	var why []string
	for _, one := range missing {
		why = append(why, one.Strategy+": "+one.Reason)
	}
	if strategy == "" {
		s.log.WarnContext(ctx, "nothing follows the changes of the table: it is read anew every so often",
			slog.Any("table", t), slog.Duration("every", s.config.Capture.Snapshot), slog.String("not", strings.Join(why, "; ")))
		return
	}
	attrs := []slog.Attr{slog.Any("table", t), slog.String("strategy", strategy)}
	if len(why) > 0 {
		attrs = append(attrs, slog.String("not", strings.Join(why, "; ")))
	}
	if risks := s.risksOf(t, m, strategy); len(risks) > 0 {
		attrs = append(attrs, slog.String("risks", strings.Join(risks, "; ")))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "how changes of the table are found", attrs...)
}

// resume makes what follows a table whose strategy is known. Where the configuration names another one by now, a better one was
// installed, or it cannot be had any more, the table is read anew.
func (s *Source) resume(ctx context.Context, c *mysql.Conn, t *table) error {
	had := t.note.Strategy
	if !t.follows() {
		t.poller = nil
		return nil
	}
	m, err := s.means(ctx, c, t)
	if err != nil {
		return err
	}
	if only := s.config.Capture.Strategy; only != auto && only != had {
		return s.again(ctx, c, t, fmt.Sprintf("the strategy was %s and is %s now", cmp.Or(had, "none"), only))
	}
	if s.config.Capture.Strategy == auto {
		best, _ := s.best(t, m)
		switch {
		case installed(best) && rank(best) < rank(had):
			return s.again(ctx, c, t, fmt.Sprintf("strategy %s was installed; it was %s", best, cmp.Or(had, "none")))
		case had == "" && best != "":
			return s.again(ctx, c, t, "its changes can be found by strategy "+best+" now")
		}
	}
	if had != "" {
		if lack := s.lacks(t, m, had); lack != nil {
			return s.again(ctx, c, t, fmt.Sprintf("strategy %s cannot be had any more: %s", had, lack.Reason))
		}
	}
	t.poller = s.newPoller(had)
	if had == byTime && !m.timeNotNull {
		return s.countNulls(ctx, c, t)
	}
	return nil
}

// rank is a strategy's place; none has the last.
func rank(strategy string) int {
	if i := slices.Index(ranking, strategy); i >= 0 {
		return i
	}
	return len(ranking)
}
