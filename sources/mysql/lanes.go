package mysql

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// The lanes of a table are called STREAM@EPOCH/PART: the numbered parts of its backfill or one snapshot, what completes a
// re-read, and what follows. A table that is stopped has one lane, which fails with the reason.
const (
	followPart   = "follow"
	completePart = "complete"
	snapshotPart = "snapshot"
	stoppedPart  = "stopped"
	followSuffix = "/" + followPart
)

func (t *table) lane(part string) string {
	return fmt.Sprintf("%s@%d/%s", t.stream, t.note.Epoch, part)
}

// Lanes asks the catalog which tables there are, makes a note of those that are new, and gives the lanes of all.
func (s *Source) Lanes(ctx context.Context) ([]sources.Lane, error) {
	if !s.fresh() {
		if err := s.with(ctx, func(c *mysql.Conn) error { return s.refresh(ctx, c) }); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var lanes []sources.Lane
	var reads []string
	for _, t := range s.sorted() {
		all := s.lanesOf(t)
		lanes = append(lanes, all...)
		for _, l := range all {
			if t.logged() && t.err == nil && s.feed.failed[t.stream] != t.note.Epoch {
				reads = append(reads, l.ID)
			}
		}
	}
	if lane, ok := s.logLane(reads); ok {
		lanes = append(lanes, lane)
	}
	return s.only.lanes(lanes, s.tables)
}

func (s *Source) lanesOf(t *table) []sources.Lane {
	streams := []string{t.stream}
	var lanes []sources.Lane
	var reads []string
	add := func(l sources.Lane) {
		l.Streams, l.Replayable = streams, true
		lanes = append(lanes, l)
	}
	if t.err != nil {
		add(sources.Lane{ID: t.lane(stoppedPart)})
		return lanes
	}
	if len(t.note.Parts) == 0 {
		reads = append(reads, t.lane(snapshotPart))
		add(sources.Lane{ID: reads[0]})
	}
	for i := range t.note.Parts {
		reads = append(reads, t.lane(strconv.Itoa(i)))
		add(sources.Lane{ID: reads[i], Apart: s.role == sources.Leader})
	}
	if t.note.Epoch > 1 || t.note.Strategy == "" {
		add(sources.Lane{ID: t.lane(completePart), After: reads})
		reads = []string{t.lane(completePart)}
	}
	if t.poller != nil {
		follow := sources.Lane{ID: t.lane(followPart), Endless: true}
		if s.drains {
			follow.After = reads // what was changed while they were read is to be given too
		}
		add(follow)
	}
	return lanes
}

// find gives the table and the part of it that a lane is. The table is nil where the lane is of another incarnation of the stream than
// there is now, or of a table that is gone.
func (s *Source) find(lane sources.Lane) (t *table, part string, err error) {
	stream, epoch, part, ok := tabular.CutLane(lane.ID)
	if !ok {
		return nil, "", fault.Stop(fmt.Errorf("mysql: no lane is called %q", lane.ID))
	}
	t = s.table(stream)
	if t == nil || epoch != strconv.Itoa(int(t.note.Epoch)) {
		return nil, "", nil
	}
	return t, part, nil
}

// table gives a table as it was when the catalog was last asked; nil: it is gone.
func (s *Source) table(stream string) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tables[stream]
}

// system fills what acequia knows of the records of a batch.
func (t *table) system(number uint64, op record.Op, at time.Time) func(rows int, sys *record.System) {
	return func(_ int, sys *record.System) {
		sys.Source, sys.IngestTime = t.source, time.Now().UnixMicro()
		sys.EventTimes = []int64{at.UnixMicro()}
		sys.Ops = []record.Op{op}
		sys.Versions = record.Versions{Epoch: t.note.Epoch, Lo: []uint64{number}}
	}
}
