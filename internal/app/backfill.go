package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
)

// BackfillOptions say which tables are read as they stand.
type BackfillOptions struct {
	Tables   []string // patterns; none: all
	Parallel int      // parts that are read at the same time; 0: as the settings have it
	Resume   bool     // go on where a backfill was cut off; else the tables are read anew
}

// Only is the project with one of its pipelines alone; "" is all of them.
func (p *Project) Only(pipeline string) (*Project, error) {
	chosen, err := p.chosen(pipeline)
	if err != nil {
		return nil, err
	}
	only := *p
	if only.Pipelines = chosen; only.whole == nil {
		only.whole = p.Pipelines
	}
	return &only, nil
}

// backfill has the source of a pipeline read its tables as they stand, once, and follow nothing.
func (s *Service) backfill(d *Declared, source sources.Source) error {
	b, ok := source.(sources.Backfiller)
	if !ok {
		return &fault.Error{
			Code: "ACQ-USE-051", Place: d.Name, Err: fmt.Errorf("source %s has no tables that are read as they stand", d.Source.Name),
			Remedy: "name a pipeline that reads a database; acequia replay reads a lake again",
		}
	}
	b.Backfill(s.Backfill.Tables, s.Backfill.Parallel)
	if !s.Backfill.Resume {
		s.rewinds = append(s.rewinds, rewinding{b, d.Name})
	}
	return nil
}

// rewinding is the source of a pipeline that reads its tables anew.
type rewinding struct {
	sources.Backfiller
	pipeline string
}

// rewind has the sources read the chosen tables anew, once all pipelines are made: what is refused has changed nothing.
func (s *Service) rewind(ctx context.Context) error {
	if len(s.rewinds) > 0 {
		if err := s.haveAll(ctx); err != nil {
			return err
		}
	}
	for _, r := range s.rewinds {
		streams, err := r.Rewind(ctx, s.Backfill.Tables)
		if err != nil {
			return err
		}
		if len(streams) > 0 {
			s.Log.InfoContext(ctx, "tables are read anew", slog.String("pipeline", r.pipeline), slog.Any("streams", streams))
		}
	}
	return nil
}

// Rewind has the streams of the named pipeline, or of all for "", read anew by its next run. It needs the state for itself. It gives
// the streams by pipeline.
func (p *Project) Rewind(ctx context.Context, pipeline string, tables []string, o ServiceOptions) (streams map[string][]string, err error) {
	only, err := p.Only(pipeline)
	if err != nil {
		return nil, err
	}
	s, err := only.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	all := make([]sources.Backfiller, len(s.sources))
	for i, source := range s.sources { // all of them first: what is refused has changed nothing
		b, ok := source.(sources.Backfiller)
		if !ok {
			return nil, &fault.Error{
				Code: "ACQ-USE-052", Place: only.Pipelines[i].Name, Err: errors.New("what its source has read cannot be read anew without being there twice"),
				Remedy: "acequia replay sends what a lake holds again; --lanes takes lanes back all the same",
			}
		}
		all[i] = b
	}
	if err := s.haveAll(ctx); err != nil {
		return nil, err
	}
	streams = map[string][]string{}
	for i, b := range all {
		if streams[only.Pipelines[i].Name], err = b.Rewind(ctx, tables); err != nil {
			return nil, err
		}
	}
	return streams, nil
}

// RewindLanes takes lanes of a pipeline back to their start: what is read again is there twice in a lake, in the view of the newest
// rows once. It needs the state for itself.
func (p *Project) RewindLanes(ctx context.Context, pipeline string, lanes []string, o ServiceOptions) (err error) {
	only, err := p.Only(pipeline)
	if err != nil {
		return err
	}
	s, err := only.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	return s.state.Rewind(ctx, pipeline, lanes, nil)
}
