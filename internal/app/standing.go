package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/sources"
)

// unasked is the reason of a pipeline whose process, if there is one, cannot be asked.
const unasked = "no process answers: this is its last checkpoint, also while acequia run goes on, which has no web server"

// Standing tells where the pipelines stand by their checkpoints, and how their sources read their streams and what these keep, without
// a process that runs them. One that does is not disturbed.
func (p *Project) Standing(ctx context.Context, log *slog.Logger) (out []web.Pipeline, err error) {
	stands, err := p.Lanes(ctx, "")
	if err != nil {
		return nil, err
	}
	store, err := checkpoint.OpenToRead(ctx, filepath.Join(p.State, "state.db"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, d := range p.Pipelines {
		one := web.Pipeline{Name: d.Name, State: web.Stopped, Reason: unasked}
		if one.DeadLetters, err = store.CountDeadLetters(ctx, d.Name); err != nil {
			return nil, err
		}
		for _, l := range stands {
			if l.Pipeline != d.Name {
				continue
			}
			lane := web.Lane{ID: l.Lane, State: web.Stopped, Rows: l.Rows, LastCommit: l.Saved}
			if l.Ended {
				lane.State = web.Ended
			}
			one.Rows += l.Rows
			if l.Saved.After(one.LastCommit) {
				one.LastCommit = l.Saved
			}
			one.Lanes = append(one.Lanes, lane)
		}
		if one.Source = p.askReport(ctx, d.Name, log); one.Source != nil && one.Source.Loss > 0 {
			one.Loss = &one.Source.Loss
		}
		out = append(out, one)
	}
	return out, nil
}

// askReport asks the source of a pipeline; nil: it has nothing to tell. That it cannot be asked is a warning, for the rest is known.
func (p *Project) askReport(ctx context.Context, pipeline string, log *slog.Logger) *sources.Report {
	var report *sources.Report
	err := p.ask(ctx, pipeline, log, func(_ string, s sources.Source) error {
		reporter, ok := s.(sources.Reporter)
		if !ok {
			return nil
		}
		r, err := reporter.Report(ctx)
		report = &r
		installer, ok := s.(sources.Installer)
		if err != nil || !ok {
			return err
		}
		installed, err := installer.Installed(ctx)
		for _, i := range installed {
			r.Streams = append(r.Streams, sources.StreamReport{Stream: i.Stream, Strategy: i.Strategy, Risks: i.Risks})
		}
		return err
	})
	if err != nil {
		return &sources.Report{Warnings: []string{strings.Join(strings.Fields(err.Error()), " ")}}
	}
	return report
}
