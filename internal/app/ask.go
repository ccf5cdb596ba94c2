package app

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sources"
)

// chosen gives the named pipeline, or all for "".
func (p *Project) chosen(pipeline string) ([]*Declared, error) {
	if pipeline == "" {
		return p.Pipelines, nil
	}
	d, err := p.find(pipeline)
	return []*Declared{d}, err
}

// ask makes the sources of the named pipeline, or of all for "", without reading a lane, and hands each to do. What they remember
// can be read; a process that runs the pipelines is not disturbed.
func (p *Project) ask(ctx context.Context, pipeline string, log *slog.Logger, do func(pipeline string, s sources.Source) error) (err error) {
	chosen, err := p.chosen(pipeline)
	if err != nil {
		return err
	}
	state, err := p.stateToRead(ctx)
	if err != nil {
		return err
	}
	if state != nil {
		defer func() { err = errors.Join(err, state.Close()) }()
	}
	for _, d := range chosen {
		host := sources.Host{Pipeline: d.Name, Log: log, State: &readState{store: state, pipeline: d.Name}}
		if err := d.Source.lend(ctx, host, func(s sources.Source) error { return do(d.Name, s) }); err != nil {
			return err
		}
	}
	return nil
}

// stateToRead opens the state beside a process that may run; nil: nothing has run yet.
func (p *Project) stateToRead(ctx context.Context) (*checkpoint.Store, error) {
	store, err := p.StatePlace().OpenToRead(ctx)
	if errors.Is(err, checkpoint.ErrNoState) {
		return nil, nil //nolint:nilnil // said above
	}
	return store, err
}

// lend makes the source, and closes what it has opened.
func (s *SourcePart) lend(ctx context.Context, host sources.Host, do func(sources.Source) error) (err error) {
	source, err := s.Plugin.New(ctx, s.Settings, host)
	if err != nil {
		return err
	}
	if closer, ok := source.(io.Closer); ok {
		defer func() { err = errors.Join(err, closer.Close()) }()
	}
	return do(source)
}

// readState is what a source remembers, for one that is only asked.
type readState struct {
	store    *checkpoint.Store // nil: nothing has run yet
	pipeline string
}

var errReadOnly = fault.Stop(errors.New("the state is only read"))

func (*readState) Next(context.Context, string) (uint64, error) { return 0, errReadOnly }

func (s *readState) Load(ctx context.Context, key string) ([]byte, error) {
	if s.store == nil {
		return nil, nil
	}
	return s.store.Note(ctx, s.pipeline, key)
}

func (*readState) Save(context.Context, string, []byte) error { return errReadOnly }

// comparedState is that of a source whose records are compared: it reads them as its lanes do, by the columns that it has noted, and
// their numbers are looked at by nobody.
type comparedState struct{ *readState }

func (comparedState) Next(context.Context, string) (uint64, error) { return 0, nil }

// Captures hands the sources to do into which the capture of changes can be installed: that of a pipeline, or of all for "".
func (p *Project) Captures(ctx context.Context, pipeline string, log *slog.Logger, do func(pipeline string, i sources.Installer) error) error {
	found := false
	err := p.ask(ctx, pipeline, log, func(name string, s sources.Source) error {
		i, ok := s.(sources.Installer)
		if !ok {
			return nil
		}
		found = true
		return do(name, i)
	})
	if err == nil && !found {
		return &fault.Error{
			Code: "ACQ-USE-050", Place: pipeline, Err: errors.New("no source here has anything to install"),
			Remedy: "name a pipeline that reads a database",
		}
	}
	return err
}
