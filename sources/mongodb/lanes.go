package mongodb

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// The lanes of a collection are called STREAM@EPOCH/PART: the numbered parts of its backfill, what completes a re-read, and what
// follows. A collection that is stopped has one lane, which fails with the reason.
const (
	followPart   = "follow"
	completePart = "complete"
	stoppedPart  = "stopped"
	followSuffix = "/" + followPart
)

func (c *collection) lane(part string) string {
	return fmt.Sprintf("%s@%d/%s", c.Name, c.note.Epoch, part)
}

// Lanes asks the server which collections there are, makes a note of those that are new, and gives the lanes of all.
func (s *Source) Lanes(ctx context.Context) ([]sources.Lane, error) {
	if !s.fresh() {
		if err := s.refresh(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var lanes []sources.Lane
	for _, c := range s.sorted() {
		lanes = append(lanes, s.lanesOf(c)...)
	}
	return s.only.lanes(lanes)
}

func (s *Source) lanesOf(c *collection) []sources.Lane {
	streams := []string{c.Name}
	var lanes []sources.Lane
	var reads []string
	add := func(l sources.Lane) {
		l.Streams, l.Replayable = streams, true
		lanes = append(lanes, l)
	}
	if c.err != nil {
		add(sources.Lane{ID: c.lane(stoppedPart)})
		return lanes
	}
	apart := s.role == sources.Leader && c.note.Strategy != bySweep // which notes what it reads
	for i := range c.note.Parts {
		reads = append(reads, c.lane(strconv.Itoa(i)))
		add(sources.Lane{ID: reads[i], Apart: apart})
	}
	if c.note.Epoch > 1 {
		add(sources.Lane{ID: c.lane(completePart), After: reads})
		reads = []string{c.lane(completePart)}
	}
	follow := sources.Lane{ID: c.lane(followPart), Endless: true}
	if s.drains || c.note.Strategy == bySweep { // what was changed while they were read is to be given too; a sweep compares with what they gave
		follow.After = reads
	}
	add(follow)
	return lanes
}

// find gives the collection and the part of it that a lane is. The collection is nil where the lane is of another incarnation of the
// stream than there is now, or of a collection that is gone.
func (s *Source) find(lane sources.Lane) (c *collection, part string, err error) {
	stream, epoch, part, ok := tabular.CutLane(lane.ID)
	if !ok {
		return nil, "", fault.Stop(fmt.Errorf("mongodb: no lane is called %q", lane.ID))
	}
	c = s.collection(stream)
	if c == nil || epoch != strconv.Itoa(int(c.note.Epoch)) {
		return nil, "", nil
	}
	return c, part, nil
}

// system fills what acequia knows of the records of a batch that have one number.
func (s *Source) system(c *collection, number uint64, op record.Op, at time.Time) func(rows int, sys *record.System) {
	return func(_ int, sys *record.System) {
		sys.Source, sys.IngestTime = "mongodb."+s.config.Database+"."+c.Name, time.Now().UnixMicro()
		sys.EventTimes = []int64{at.UnixMicro()}
		sys.Ops = []record.Op{op}
		sys.Versions = record.Versions{Epoch: c.note.Epoch, Lo: []uint64{number}}
	}
}
