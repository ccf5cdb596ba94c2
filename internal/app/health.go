package app

import (
	"context"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
)

// healthTime bounds a look at all that a project needs: the answer comes within two seconds.
const healthTime = 1500 * time.Millisecond

// healthAge is how old a look may be that is told: who asks often does not look often.
const healthAge = time.Second

// health looks at the servers that pipelines need.
type health struct {
	checks []check

	mu   sync.Mutex
	last map[string]jobs.Check
	at   time.Time
}

// check is a look at one of them. Several of one name are told as one.
type check struct {
	name string
	do   func(ctx context.Context) error
}

func (s *Service) newHealth() *health {
	h := &health{}
	seen := map[any]bool{}
	for i, d := range s.project.Pipelines {
		if c, ok := s.sources[i].(sources.Checker); ok && d.Source.Plugin.Server != "" && !seen[d.Source] {
			seen[d.Source] = true
			h.checks = append(h.checks, check{d.Source.Plugin.Server, c.Check})
		}
		for _, part := range d.Sinks {
			if seen[part] || part.Plugin.Server == "" {
				continue
			}
			seen[part] = true
			if part.Plugin.Items {
				if store, ok := s.itemsAt(s.project.itemsFile(part)).(interface {
					Ping(ctx context.Context) error
				}); ok {
					h.checks = append(h.checks, check{part.Plugin.Server, store.Ping})
				}
			} else if l, ok := part.Settings.(*lake.Config); ok && isRemote(l) {
				h.checks = append(h.checks, check{part.Plugin.Server, pinged(l.URL, l.S3())})
			} else if c, ok := part.Settings.(sinks.Checker); ok {
				h.checks = append(h.checks, check{part.Plugin.Server, func(ctx context.Context) error {
					_, err := c.Check(ctx)
					return err
				}})
			}
		}
	}
	for _, k := range s.project.keptInS3() {
		h.checks = append(h.checks, check{"s3", pinged(k.at, k.s3)})
	}
	return h
}

func isRemote(l *lake.Config) bool {
	_, _, remote := blob.ParseURL(l.URL)
	return remote
}

// look tells of each server whether it can be used.
func (h *health) look(ctx context.Context) map[string]jobs.Check {
	h.mu.Lock() // who asks meanwhile is told the same
	defer h.mu.Unlock()
	if h.last != nil && time.Since(h.at) < healthAge {
		return h.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTime) // who went away does not make it unwell
	defer cancel()
	var looking sync.WaitGroup
	found := make([]jobs.Check, len(h.checks))
	for i, c := range h.checks {
		looking.Go(func() {
			began := time.Now()
			err := c.do(ctx)
			found[i] = jobs.Check{Status: jobs.OK, Latency: float64(time.Since(began).Microseconds()) / 1000}
			if err != nil {
				found[i].Status, found[i].Trouble = jobs.Unusable, jobs.TroubleOf(err)
			}
		})
	}
	looking.Wait()
	h.last, h.at = map[string]jobs.Check{}, time.Now()
	for i, c := range h.checks {
		if other, known := h.last[c.name]; known && other.Status != jobs.OK {
			continue
		}
		h.last[c.name] = found[i]
	}
	return h.last
}
