package app

import (
	"context"
	"errors"
	"time"

	"github.com/acequia-io/acequia/internal/jobs"
)

// Timetable tells how the jobs of the schedule stand, by the state file alone. A process that runs is not disturbed.
func (p *Project) Timetable(ctx context.Context) (out []jobs.Entry, err error) {
	store, err := p.stateToRead(ctx)
	if err != nil {
		return nil, err
	}
	if store == nil { // nothing has run yet
		for _, e := range p.Schedule.Jobs {
			next := e.Value.Cron.Next(time.Now().In(p.Schedule.Zone.In()))
			out = append(out, jobs.Entry{Name: e.Name, Do: e.Value.Do, Cron: e.Value.Cron.Text, Zone: p.Schedule.Zone.In().String(), Next: &next})
		}
		return out, nil
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return jobs.Entries(ctx, p.Schedule, store)
}
