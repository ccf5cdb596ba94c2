package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // where the system knows no zones

	"github.com/robfig/cron/v3"
)

// Schedule says which jobs begin by themselves, and when.
type Schedule struct {
	Zone Zone           `yaml:"time_zone" doc:"Of the times: a name such as America/Lima; default UTC."`
	Jobs Ordered[Timed] `yaml:",inline" doc:"When a job begins, by a name; backup, sync and migrate say so what they do."`
}

// Timed is a job of the schedule.
type Timed struct {
	Cron Cron   `yaml:"cron,scalar" required:"true" doc:"When: minute, hour, day, month and day of the week, as in 0 2 * * * or */30 * * * *."`
	Do   string `yaml:"do" enum:"backup,sync,migrate" doc:"What: sync goes on from the checkpoints of all tables; default: the job's name."`
}

// kinds are what a schedule may do.
func kinds() []string { return []string{"backup", "sync", "migrate"} }

// Zone is a time zone; the zero one is UTC.
type Zone struct{ *time.Location }

// UnmarshalText reads the name of a zone.
func (z *Zone) UnmarshalText(text []byte) error {
	l, err := time.LoadLocation(string(text))
	if err != nil || len(text) == 0 || string(text) == "Local" {
		return fmt.Errorf("%q is no time zone: want a name such as America/Lima or UTC", text)
	}
	z.Location = l
	return nil
}

// In gives the location.
func (z Zone) In() *time.Location {
	if z.Location == nil {
		return time.UTC
	}
	return z.Location
}

// Cron is when something happens again and again.
type Cron struct {
	Text  string
	times cron.Schedule
}

// UnmarshalText reads five fields.
func (c *Cron) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	times, err := cron.ParseStandard(strings.Join(fields, " "))
	switch {
	case err != nil, len(fields) != 5, strings.Contains(fields[0], "="):
		return fmt.Errorf("%q is no time of a schedule: want minute, hour, day, month and day of the week, as in 0 2 * * *", text)
	case times.Next(time.Now()).IsZero():
		return fmt.Errorf("%q never comes", text)
	}
	c.Text, c.times = strings.Join(fields, " "), times
	return nil
}

// Next gives the first time after one, in the zone of that; zero: never.
func (c Cron) Next(after time.Time) time.Time { return c.times.Next(after) }

// schedule checks what each job of the schedule does.
func (l *linter) schedule(root *node, s *Schedule) {
	for i := range s.Jobs {
		e := &s.Jobs[i]
		if e.Value.Do != "" || e.Value.Cron.times == nil {
			continue
		}
		if e.Value.Do = e.Name; !slices.Contains(kinds(), e.Name) {
			at := keyOf(root, "schedule", e.Name)
			l.problems = append(l.problems, l.decoder.file.at(at, CodeMissing, "add do: "+strings.Join(kinds(), ", do: "), "job %s of the schedule does nothing", e.Name))
		}
	}
}
