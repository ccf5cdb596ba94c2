package app

import (
	"context"
	"time"

	"github.com/acequia-io/acequia/sources"
)

// Expected is how many rows streams are estimated to have, by pipeline.
type Expected map[string]map[string]int64

// expectTime bounds the question: estimates are for people who wait.
const expectTime = 5 * time.Second

// expect asks the sources that can tell for their estimates, once. What cannot be asked is left out.
func (s *Service) expect(ctx context.Context) Expected {
	ctx, cancel := context.WithTimeout(ctx, expectTime)
	defer cancel()
	out := Expected{}
	for i, source := range s.sources {
		t, ok := source.(sources.Tables)
		if !ok {
			continue
		}
		streams, err := t.Streams(ctx)
		if err != nil {
			continue // the run will say what is wrong
		}
		rows := map[string]int64{}
		for _, stream := range streams {
			rows[stream.Schema.Stream] = stream.Rows
		}
		out[s.project.Pipelines[i].Name] = rows
	}
	return out
}

// Expected gives the estimates, which are asked for when it is first called.
func (s *Service) Expected() Expected {
	s.estimate.Do(func() { s.estimates = s.expect(context.Background()) })
	return s.estimates
}

// Expected gives the estimates of what runs now.
func (l *Live) Expected() Expected {
	l.mu.Lock()
	service := l.service
	l.mu.Unlock()
	if service == nil {
		return nil
	}
	return service.Expected()
}
