package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/schemas"
	itemsink "github.com/acequia-io/acequia/sinks/items"
	lakesink "github.com/acequia-io/acequia/sinks/lake"
	warehousesink "github.com/acequia-io/acequia/sinks/postgres"
	"github.com/acequia-io/acequia/sources"
)

// VerifyOptions say what is compared.
type VerifyOptions struct {
	Pipeline string // "": all
	Tables   Tables
	Against  string        // lake, items or postgres; "": every sink
	Settle   time.Duration // how long rows that differ are looked at again; below zero: as long as a running pipeline may take, else once
	Show     int           // differences that are told in full, a table
	KeysOnly bool
	Read     func(rows int) // is told of rows as they are read, from several goroutines; may be nil
	// Wait is told what differs as yet, and how long it will be looked at again. May be nil.
	Wait func(stream, sink string, rows int, until time.Time)
}

// Tables are those that are asked for: patterns, and how they choose a stream. No patterns choose all.
type Tables struct {
	Patterns []string
	Choose   func(patterns []string, stream string) (bool, error)
}

// among gives the streams that are chosen, or says that none is.
func (t Tables) among(streams []sources.Stream) (out []sources.Stream, err error) {
	for _, s := range streams {
		in, err := t.Choose(t.Patterns, s.Schema.Stream)
		if err != nil {
			return nil, err
		}
		if in {
			out = append(out, s)
		}
	}
	return out, nil
}

// none says that nothing was chosen.
func (t Tables) none() error {
	return &fault.Error{
		Code: "ACQ-USE-061", Place: strings.Join(t.Patterns, ", "), Err: errors.New("no pipeline here has such a table"),
		Remedy: "write SCHEMA.TABLE as the database has it, where * and ? stand for letters",
	}
}

// settleRunning is how long a running pipeline has to catch up, beside the time for which its sinks gather.
const settleRunning = 10 * time.Second

// comparing compares the pipelines of a project with their sinks.
type comparing struct {
	VerifyOptions
	project *Project
	log     *slog.Logger
	report  *verify.Report
	items   func(ctx context.Context, file string) (*itemstore.Store, error)
	dynamo  map[*SinkPart]*itemstore.Dynamo // those that were opened
	// differ is given keys that differ; nil: they are only told.
	differ func(ctx context.Context, r repairable, sink string, keys *record.Batch) error
	// claim says why a pipeline may mend nothing in the tables that a stream goes to; nil: nothing is mended.
	claim  func(ctx context.Context, d *Declared, stream string) error
	failed error // why the first that was not compared was not
}

// repairable is a stream of a pipeline.
type repairable struct {
	pipeline routers.Pipeline
	tables   sources.Tables
	schema   *record.Schema
}

// Verify compares what the sources of the pipelines hold with what their sinks do. It changes nothing, and may be asked for while
// the pipelines run.
func (p *Project) Verify(ctx context.Context, o VerifyOptions, log *slog.Logger) (_ *verify.Report, err error) {
	p.boundHeap()
	stores := map[string]*itemstore.Store{}
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.Close())
		}
	}()
	c := &comparing{VerifyOptions: o, project: p, log: log, items: func(ctx context.Context, file string) (*itemstore.Store, error) {
		if stores[file] == nil {
			store, err := itemstore.OpenToRead(ctx, file)
			if err != nil {
				return nil, err
			}
			stores[file] = store
		}
		return stores[file], nil
	}}
	running := p.held()
	state, err := p.stateToRead(ctx)
	if err != nil {
		return nil, err
	}
	if state != nil {
		defer func() { err = errors.Join(err, state.Close()) }()
	}
	return c.run(func(d *Declared) error {
		key, err := p.keyToRead(d)
		if err != nil {
			return err
		}
		steps, err := d.handlers(p.plugins, key)
		if err != nil {
			return err
		}
		if c.Settle = o.Settle; o.Settle < 0 {
			c.Settle = 0
			if running {
				c.Settle = settleRunning + d.gathers()
			}
		}
		host := sources.Host{Pipeline: d.Name, Log: log.With(slog.String("pipeline", d.Name)), State: comparedState{&readState{store: state, pipeline: d.Name}}}
		return d.Source.lend(ctx, host, func(source sources.Source) error {
			return c.pipeline(ctx, d, routers.Pipeline{Name: d.Name, Source: source, Steps: steps})
		})
	})
}

// Repair compares as Verify does, and sends the records of keys that differ again; then it compares once more.
func (s *Service) Repair(ctx context.Context, o VerifyOptions) (*verify.Report, error) {
	return s.mend(ctx, o, func(d *Declared) (routers.Pipeline, error) {
		_, whole, err := s.whole(ctx, d.Name)
		return whole, err
	})
}

// mend repairs with pipelines that the caller makes. It gives what it found, or if it found anything what was so afterwards.
func (s *Service) mend(ctx context.Context, o VerifyOptions, of func(d *Declared) (routers.Pipeline, error)) (*verify.Report, error) {
	compare := func(differ func(context.Context, repairable, string, *record.Batch) error) (*verify.Report, error) {
		c := &comparing{VerifyOptions: o, project: s.project, log: s.Log, differ: differ, claim: s.claim, items: func(_ context.Context, file string) (*itemstore.Store, error) {
			return s.items[file], nil
		}}
		c.Settle = max(0, c.Settle)
		return c.run(func(d *Declared) error {
			whole, err := of(d)
			if err != nil {
				return err
			}
			return c.pipeline(ctx, d, whole)
		})
	}
	found, err := compare(s.repair)
	if err != nil || found.Equal {
		return found, err
	}
	now, err := compare(nil)
	if err != nil {
		return nil, err
	}
	now.Found = found
	return now, nil
}

// repair sends the records of some keys again, to one sink.
func (s *Service) repair(ctx context.Context, r repairable, sink string, keys *record.Batch) error {
	p := r.pipeline
	p.Sinks = slices.DeleteFunc(slices.Clone(p.Sinks), func(n routers.NamedSink) bool { return n.Name != sink })
	_, err := s.reread(ctx, p, verify.Keys(r.tables, r.schema, sink, keys))
	return err
}

// reread runs a pipeline over records that are read again, until all of them are durable.
func (s *Service) reread(ctx context.Context, p routers.Pipeline, from *verify.Reread) (routers.Status, error) {
	run, err := s.runOf(verify.Again(p, from), "reread")
	if err != nil {
		return routers.Status{}, err
	}
	err = runUntil(ctx, run, from.Drained())
	return run.Status(), err
}

// Synced is what a table that was read again gave.
type Synced struct {
	Pipeline    string `json:"pipeline"`
	Stream      string `json:"stream"`
	Read        int64  `json:"rows_read"`
	DeadLetters int64  `json:"dead_letters"`
}

// ReadAgain reads a table again as it is now, or the rows of it that were changed since a time that is not zero, and sends them through the
// pipelines that carry it.
func (s *Service) ReadAgain(ctx context.Context, t Tables, since time.Time) (out []Synced, err error) {
	for _, d := range s.project.Pipelines {
		_, whole, err := s.whole(ctx, d.Name)
		if err != nil {
			return out, err
		}
		tables, ok := whole.Source.(sources.Tables)
		if !ok {
			continue
		}
		streams, err := tables.Streams(ctx)
		if err != nil {
			return out, err
		}
		if streams, err = t.among(streams); err != nil {
			return out, err
		}
		if err := allKeyed(streams); err != nil {
			return out, err
		}
		for _, stream := range streams {
			from, err := again(ctx, tables, stream.Schema, since)
			if err != nil {
				return out, err
			}
			status, err := s.reread(ctx, whole, from)
			if err != nil {
				return out, err
			}
			out = append(out, Synced{d.Name, stream.Schema.Stream, status.RowsRead, status.DeadLetters})
		}
	}
	if len(out) == 0 {
		err = t.none()
	}
	return out, err
}

// allKeyed refuses streams without a key: of a row that is read again nothing says that it is there already.
func allKeyed(streams []sources.Stream) error {
	for _, s := range streams {
		if len(s.Schema.Key) == 0 {
			return &fault.Error{
				Code: "ACQ-USE-063", Place: s.Schema.Stream, Err: errors.New("the table has no key, and its rows would be there twice"),
				Remedy: "read it anew, which takes the place of what is there: acequia backfill FILE --tables " + s.Schema.Stream,
			}
		}
	}
	return nil
}

func again(ctx context.Context, tables sources.Tables, schema *record.Schema, since time.Time) (*verify.Reread, error) {
	if since.IsZero() {
		return verify.Whole(ctx, tables, schema)
	}
	changed, ok := tables.(sources.Since)
	if !ok {
		return nil, &fault.Error{
			Code: "ACQ-USE-066", Place: "--since", Err: errors.New("the source cannot tell when its records were changed"), Remedy: "leave it out: the whole table is read",
		}
	}
	return verify.Changed(changed, schema, since), nil
}

// run compares the pipelines that are asked for.
func (c *comparing) run(do func(d *Declared) error) (_ *verify.Report, err error) {
	c.dynamo = map[*SinkPart]*itemstore.Dynamo{}
	defer func() {
		for _, d := range c.dynamo {
			err = errors.Join(err, d.Close())
		}
	}()
	c.report = &verify.Report{Began: time.Now().UTC(), Tables: []verify.Table{}, Unchecked: []verify.Unchecked{}, Equal: true}
	asked, err := c.project.chosen(c.Pipeline)
	if err != nil {
		return nil, err
	}
	for _, d := range asked {
		if err := do(d); err != nil {
			return nil, err
		}
	}
	for i := range c.report.Tables {
		c.report.Equal = c.report.Equal && c.report.Tables[i].Equal()
	}
	if len(c.report.Tables) == 0 { // nothing was found equal, either
		return nil, cmp.Or(c.failed, error(nothing(c.Against)))
	}
	return c.report, nil
}

// nothing says that there was nothing to compare.
func nothing(against string) *fault.Error {
	e := &fault.Error{
		Code: "ACQ-USE-064", Place: cmp.Or(against, "sources"), Err: errors.New("nothing was compared: the sources have no tables"),
		Remedy: "see which tables the settings choose: acequia plan FILE --connect",
	}
	if against != "" {
		e.Err, e.Remedy = fmt.Errorf("nothing was compared: no pipeline here writes %s", against), "leave --against out"
	}
	return e
}

// leave notes what is not compared.
func (c *comparing) leave(u verify.Unchecked, why error) {
	if u.Reason = why.Error(); u.Reason != "" {
		if e, ok := errors.AsType[*fault.Error](why); ok {
			u.Reason = e.Place + ": " + e.Err.Error()
		}
	}
	c.report.Unchecked = append(c.report.Unchecked, u)
	c.failed = cmp.Or(c.failed, why)
}

// pipeline compares one.
func (c *comparing) pipeline(ctx context.Context, d *Declared, p routers.Pipeline) error {
	tables, ok := p.Source.(sources.Tables)
	if !ok {
		c.leave(verify.Unchecked{Pipeline: d.Name}, &fault.Error{
			Code: "ACQ-USE-060", Place: "source " + d.Source.Name, Err: fmt.Errorf("a source of type %s cannot be read as it stands", d.Source.Plugin.Type),
			Remedy: "name a pipeline that begins with a database",
		})
		return nil
	}
	streams, err := tables.Streams(ctx)
	if err != nil {
		return err
	}
	wanted, err := c.Tables.among(streams)
	if err != nil {
		return err
	}
	if len(wanted) == 0 && len(streams) > 0 {
		c.failed = cmp.Or(c.failed, c.Tables.none())
	}
	for _, stream := range wanted {
		if err := c.stream(ctx, d, repairable{p, tables, stream.Schema}, stream); err != nil {
			return err
		}
	}
	return nil
}

// stream compares a stream with the sinks that it is in.
func (c *comparing) stream(ctx context.Context, d *Declared, r repairable, stream sources.Stream) error {
	unchecked := verify.Unchecked{Pipeline: d.Name, Stream: stream.Schema.Stream}
	if c.claim != nil {
		if err := c.claim(ctx, d, stream.Schema.Stream); fault.Code(err) == claimed {
			c.leave(unchecked, err)
			return nil
		} else if err != nil {
			return err
		}
	}
	out, err := verify.Outcome(r.pipeline.Steps, stream.Schema)
	if err != nil {
		if fault.Code(err) == "" {
			return err
		}
		c.leave(unchecked, err)
		return nil
	}
	if len(out.Key) == 0 && c.KeysOnly {
		c.leave(unchecked, errors.New("it has no key"))
		return nil
	}
	of := verify.Stream{Pipeline: d.Name, Tables: r.tables, Stream: stream, Steps: r.pipeline.Steps}
	for _, part := range d.Sinks {
		unchecked.Sink = part.Name
		sink, wanted, err := c.sink(ctx, part, out)
		switch {
		case !wanted:
		case err != nil && fault.Code(err) != "":
			return err
		case err != nil:
			c.leave(unchecked, err)
		default:
			of.Sinks = append(of.Sinks, sink)
		}
	}
	if len(of.Sinks) == 0 {
		return nil
	}
	o := verify.Options{Settle: c.Settle, Show: c.Show, KeysOnly: c.KeysOnly, Read: c.Read, Wait: c.Wait}
	if c.differ != nil {
		o.Differ = func(ctx context.Context, sink string, keys *record.Batch) error { return c.differ(ctx, r, sink, keys) }
	}
	compared, err := verify.Compare(ctx, of, o)
	if err != nil {
		return fmt.Errorf("compare %s: %w", stream.Schema.Stream, err)
	}
	c.report.Tables = append(c.report.Tables, compared...)
	return nil
}

// sink finds what a sink holds of a stream. An error without a code says why it cannot be compared.
func (c *comparing) sink(ctx context.Context, part *SinkPart, out *record.Schema) (s verify.Sink, wanted bool, err error) {
	s = verify.Sink{Name: part.Name, Refuses: part.Plugin.Refuses}
	if c.Against != "" && c.Against != part.Plugin.Type {
		return s, false, nil
	}
	switch settings := part.Settings.(type) {
	case *warehousesink.Config:
		s.Table, s.Warehouse = settings.TableOf(out.Stream), settings
		return s, true, nil
	case *lakesink.Config:
		s.Table = cmp.Or(settings.TableName[out.Stream], schemas.LakeName(out.Stream))
		s.Lake, err = settings.Bucket(ctx)
		return s, true, err
	case *itemsink.Config:
		if !settings.Takes(out.Stream) {
			return s, false, nil
		}
		switch {
		case len(out.Key) == 0:
			return s, true, errors.New("left out: it has no key, and items need one")
		case settings.Tables[out.Stream].TTL > 0:
			return s, true, fmt.Errorf("its items go away after %s", settings.Tables[out.Stream].TTL)
		}
		s.Table, _ = settings.TableOf(out.Stream)
		s.Items, s.Refuses, err = c.itemsOf(ctx, part, settings, out)
		return s, true, err
	}
	return s, true, fmt.Errorf("a sink of type %s cannot be read", part.Plugin.Type)
}

// gathers is for how long the sinks of a pipeline keep what they were given before it can be seen.
func (d *Declared) gathers() (longest time.Duration) {
	for _, part := range d.Sinks {
		if p, ok := part.Settings.(interface{ Every() time.Duration }); ok {
			longest = max(longest, p.Every())
		}
	}
	return longest
}

// held says whether a process has the state directory now.
func (p *Project) held() bool {
	lock, err := os.Open(filepath.Join(p.State, "lock"))
	if err != nil {
		return false
	}
	defer func() { _ = lock.Close() }() // it was only looked at
	return errors.Is(syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// keyToRead gives the key of the state directory to who does not hold it: it must be there if a step uses it.
func (p *Project) keyToRead(d *Declared) (config.Secret, error) {
	if !slices.ContainsFunc(d.Steps, func(s StepPart) bool { return s.key }) {
		return placeholder, nil
	}
	file := filepath.Join(p.State, "mask.key")
	text, err := os.ReadFile(file) //nolint:gosec // our own directory
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("there is no key yet: nothing was masked with it")
	}
	if err != nil {
		return "", &fault.Error{Code: "ACQ-ENV-005", Place: file, Err: err, Remedy: "run the pipeline first, or give the mask a key of its own"}
	}
	return config.Secret(text), nil
}
