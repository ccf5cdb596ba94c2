package app

import (
	"context"
	"errors"
	"log/slog"
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
	store, err := p.StatePlace().OpenToRead(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	held, err := holders(ctx, store)
	if err != nil {
		return nil, err
	}
	for _, d := range p.Pipelines {
		one := web.Pipeline{Name: d.Name, State: web.Stopped, Reason: unasked}
		if one.Holder = held[checkpoint.PipelineLease(d.Name)]; one.Holder != "" {
			one.State, one.Reason = web.Elsewhere, ""
		}
		if one.DeadLetters, err = store.CountDeadLetters(ctx, d.Name); err != nil {
			return nil, err
		}
		for _, l := range stands {
			if l.Pipeline != d.Name {
				continue
			}
			lane := web.Lane{ID: l.Lane, State: web.Stopped, Rows: l.Rows, LastCommit: l.Saved}
			switch holder := held[checkpoint.LaneLease(checkpoint.Lane{Pipeline: d.Name, ID: l.Lane})]; {
			case l.Ended:
				lane.State = web.Ended
			case holder != "":
				lane.State, lane.Holder = web.Elsewhere, holder
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

// holders gives the processes that have leases, by key. One of them may have died since.
func holders(ctx context.Context, store *checkpoint.Store) (map[string]string, error) {
	all, err := store.Held(ctx)
	held := make(map[string]string, len(all))
	for _, l := range all {
		held[l.Key] = l.Owner
	}
	return held, err
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
