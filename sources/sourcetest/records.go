package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// some is how many records most cases play with: enough for a few chunks of small sources, quick everywhere.
const some = 200

func describes(ctx context.Context, s *scene) error {
	p := s.h.Plugin
	switch {
	case !regexp.MustCompile(`^[a-z][a-z0-9]*$`).MatchString(p.Type):
		return fmt.Errorf("the type %q is not one word of small letters", p.Type)
	case len(p.Doc) < 10 || !strings.HasSuffix(p.Doc, "."):
		return fmt.Errorf("the doc %q is no sentence", p.Doc)
	case p.Config == nil || p.New == nil:
		return errors.New("the plugin needs Config and New")
	case p.Config() == p.Config():
		return errors.New("the plugin gives the same Config twice: pipelines would share their settings")
	}
	if _, err := p.New(ctx, &struct{ Other int }{}, sources.Host{}); err == nil {
		return errors.New("the settings of another plugin are taken")
	}
	return nil
}

func lanesStable(ctx context.Context, s *scene) error {
	var before []sources.Lane
	for range 2 {
		source, err := s.place.Source(ctx)
		if err != nil {
			return err
		}
		for range 2 {
			lanes, err := source.Lanes(ctx)
			if err != nil {
				return fmt.Errorf("list lanes: %w", err)
			}
			if err := s.checkLanes(lanes); err != nil {
				return err
			}
			same := func(a, b sources.Lane) bool {
				return a.ID == b.ID && slices.Equal(a.After, b.After) && slices.Equal(a.Streams, b.Streams)
			}
			if before != nil && !slices.EqualFunc(before, lanes, same) {
				return fmt.Errorf("lanes were %v and are %v", before, lanes)
			}
			before = lanes
		}
	}
	return nil
}

func (s *scene) checkLanes(lanes []sources.Lane) error {
	if len(lanes) == 0 {
		return errors.New("there are no lanes")
	}
	seen := map[string]bool{}
	for _, l := range lanes {
		switch {
		case l.ID == "" || seen[l.ID]:
			return fmt.Errorf("the ID %q is empty or stands twice", l.ID)
		case len(l.Streams) == 0:
			return fmt.Errorf("lane %s names no stream", l.ID)
		case l.Replayable != s.h.Replayable:
			return fmt.Errorf("lane %s says replayable: %t", l.ID, l.Replayable)
		case slices.Contains(l.After, l.ID):
			return fmt.Errorf("lane %s waits for itself", l.ID)
		}
		seen[l.ID] = true
	}
	return nil
}

func schemasTold(ctx context.Context, s *scene) error {
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	d, ok := source.(sources.Describer)
	if !ok {
		return errNotHere
	}
	schemas, err := d.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	told := map[string]*record.Schema{}
	for _, schema := range schemas {
		told[schema.Stream] = schema
	}
	lanes, err := source.Lanes(ctx)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		for _, stream := range l.Streams {
			if told[stream] == nil {
				return fmt.Errorf("lane %s carries %s, which was not described", l.ID, stream)
			}
		}
	}
	var strange error
	_, _, _, err = s.roundTrip(ctx, s.inserts(0, 3, plain), plan{seen: func(lane string, c record.Chunk) {
		for _, b := range c.Batches {
			if schema := told[b.Schema.Stream]; schema == nil || schema.ID() != b.Schema.ID() || !slices.Equal(schema.Key, b.Schema.Key) {
				strange = fmt.Errorf("lane %s gave a batch of %s that does not have the schema described", lane, b.Schema.Stream)
			}
		}
	}})
	return errors.Join(err, strange)
}

func checked(ctx context.Context, s *scene) error {
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	c, ok := source.(sources.Checker)
	if !ok {
		return errNotHere
	}
	return c.Check(ctx)
}

func everyRecordOnce(ctx context.Context, s *scene) error {
	want, got, _, err := s.roundTrip(ctx, s.inserts(0, 5*some, plain), plan{})
	if err != nil {
		return err
	}
	return s.same(got, want)
}

func valuesSurvive(ctx context.Context, s *scene) error {
	want, got, _, err := s.roundTrip(ctx, s.inserts(0, some, extreme), plan{})
	if err != nil {
		return err
	}
	return s.same(got, want)
}

func bigValues(ctx context.Context, s *scene) error {
	want, got, _, err := s.roundTrip(ctx, s.inserts(0, 2, big), plan{})
	if err != nil {
		return err
	}
	return s.same(got, want)
}

// story is a few keys' life: each is inserted, some are updated, some deleted, one comes back.
func (s *scene) story() []change {
	changes := s.inserts(0, 10, plain)
	for key := range 8 {
		changes = append(changes, change{record.Update, key, extreme})
	}
	for key := range 5 {
		changes = append(changes, change{record.Delete, key, plain})
	}
	return append(changes, change{record.Insert, 0, plain}, change{record.Update, 0, plain}, change{record.Update, 0, plain})
}

func updatesAndDeletes(ctx context.Context, s *scene) error {
	if s.h.InsertOnly {
		return errNotHere
	}
	want, got, _, err := s.roundTrip(ctx, s.story(), plan{})
	if err != nil {
		return err
	}
	return s.same(got, want)
}

func versionsGrow(ctx context.Context, s *scene) error {
	changes := s.inserts(0, some, plain)
	if !s.h.InsertOnly {
		changes = s.story()
	}
	want, got, _, err := s.roundTrip(ctx, changes, plan{})
	if err != nil {
		return err
	}
	last := map[string]record.Version{}
	for _, lane := range got.lanes {
		for _, c := range got.chunks[lane] {
			for _, row := range c.rows {
				if before, ok := last[row.Key]; ok && row.Key != "" && !s.h.Unordered && row.version.Compare(before) <= 0 {
					return fmt.Errorf("%s: version %s comes after %s", row.Key, row.version, before)
				}
				last[row.Key] = row.version
			}
		}
	}
	if !s.h.KeepsVersions {
		return nil
	}
	byVersion := func(a, b image) int { return a.version.Compare(b.version) }
	have := slices.SortedFunc(slices.Values(got.all()), byVersion)
	for i, w := range want {
		if i >= len(have) || have[i].version != w.version || have[i].Key != w.Key {
			return fmt.Errorf("the record that was put with version %s does not carry it", w.version)
		}
	}
	return nil
}

func systemFilled(ctx context.Context, s *scene) error {
	events := map[string]bool{}
	var strange error
	start := time.Now().Add(-time.Second).UnixMicro()
	_, got, _, err := s.roundTrip(ctx, s.inserts(0, some, plain), plan{seen: func(_ string, c record.Chunk) {
		for _, b := range c.Batches {
			switch {
			case b.System.Source == "":
				strange = errors.New("the batch does not say where it comes from")
			case b.System.IngestTime < start || b.System.IngestTime > time.Now().UnixMicro():
				strange = fmt.Errorf("the ingest time %d is not now", b.System.IngestTime)
			case c.ReadAt.UnixMicro() < start:
				strange = errors.New("the chunk does not say when it was read")
			}
		}
	}})
	if err = errors.Join(err, strange); err != nil {
		return err
	}
	for _, row := range got.all() {
		switch {
		case !s.h.Standing && (row.event == "" || events[row.event]):
			return fmt.Errorf("the event id %q is empty or stands twice", row.event)
		case row.eventTime <= 0:
			return fmt.Errorf("the event time is %d", row.eventTime)
		}
		events[row.event] = true
	}
	return nil
}

// batchesStay keeps every batch to the end: a source may lend memory again only after its release.
func batchesStay(ctx context.Context, s *scene) error {
	var kept []*record.Batch
	var then []image
	_, _, _, err := s.roundTrip(ctx, s.inserts(0, 5*some, plain), plan{seen: func(_ string, c record.Chunk) {
		for _, b := range c.Batches {
			kept = append(kept, b.Retain())
			then = append(then, s.images(b)...)
		}
	}})
	if err != nil {
		return err
	}
	var now []image
	for _, b := range kept {
		now = append(now, s.images(b)...)
		b.Release()
	}
	if !slices.Equal(now, then) {
		return errors.New("a batch changed while it was held")
	}
	return nil
}
