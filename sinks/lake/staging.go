package lake

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// staging is a group that was cut.
type staging struct {
	writer *writer
	group  sinks.Group
	tables []*openTable
	serial int // of the last staged file
	files  int // of the group
	sealed []*part
	sealer blob.Sealer
}

// Stage finishes the files and puts them and their names on disk, invisible.
func (s *staging) Stage(ctx context.Context) (sinks.Manifest, error) {
	var err error
	for _, o := range s.tables {
		if err == nil {
			err = s.table(ctx, o)
		}
		if err != nil {
			err = errors.Join(err, o.drop())
		}
	}
	if sealed := s.sealer.Wait(); err == nil {
		err = sealed
	}
	if err != nil || len(s.sealed) == 0 {
		return sinks.Manifest{}, err
	}
	var m sinks.Manifest
	for _, p := range s.sealed {
		f := p.file.Publication()
		m.Files = append(m.Files, sinks.File{Name: f.Final, Staged: f.Staged, Upload: f.Upload, Rows: p.rows, Bytes: f.Bytes, Digest: f.Digest})
	}
	return m, s.writer.lake.bucket.SyncFolder(s.writer.staging())
}

func (s *staging) table(ctx context.Context, o *openTable) error {
	for len(o.full) > 0 {
		p := o.full[0]
		o.full = o.full[1:]
		if err := s.seal(ctx, o.table, p); err != nil {
			return err
		}
	}
	for _, number := range slices.Sorted(maps.Keys(o.parts)) {
		p := o.parts[number]
		delete(o.parts, number)
		if err := s.seal(ctx, o.table, p); err != nil {
			return err
		}
	}
	if o.sorter == nil {
		return nil
	}
	if err := s.sorted(ctx, o); err != nil {
		return err
	}
	err := o.sorter.Close()
	o.sorter = nil
	return err
}

// sorted writes what the sorter holds, one partition after the other.
func (s *staging) sorted(ctx context.Context, o *openTable) error {
	// the same lane, with the numbers that were kept for this group; the writer itself is at the next one
	w := &writer{lake: s.writer.lake, lane: s.writer.lane, lane8: s.writer.lane8, serial: s.serial, files: s.files, group: s.group.Ordinal}
	var open *part
	last := int32(-1)
	finish := func() error {
		if open == nil {
			return nil
		}
		p := open
		open = nil
		return s.seal(ctx, o.table, p)
	}
	err := o.sorter.Each(func(number int, columns []record.Column, lo, hi int) error {
		for lo < hi {
			if open != nil && (int32(number) != last || w.full(open)) { //nolint:gosec // partitions of a group
				if err := finish(); err != nil {
					return err
				}
			}
			var err error
			if open == nil {
				if open, err = w.create(ctx, o.table, o.router.folders[number], columns, hi); err != nil {
					return err
				}
				last = int32(number) //nolint:gosec // as above
			}
			if lo, err = w.fill(open, columns, lo, hi); err != nil {
				return err
			}
		}
		return nil
	})
	s.serial, s.files = w.serial, w.files // another table may be sorted too
	if err == nil {
		return finish()
	}
	if open != nil {
		err = errors.Join(err, open.file.Close())
	}
	return err
}

// seal ends a file and starts to put its content on disk. The file is closed whatever happens.
func (s *staging) seal(ctx context.Context, t *table, p *part) error {
	g, lane := s.group, s.writer.lane
	err := p.out.Close(
		parquet.KeyValue{Key: "acequia.pipeline", Value: lane.Pipeline}, parquet.KeyValue{Key: lakefiles.LaneKey, Value: lane.ID},
		parquet.KeyValue{Key: "acequia.epoch", Value: strconv.FormatInt(lane.Epoch, 10)},
		parquet.KeyValue{Key: "acequia.group", Value: strconv.FormatInt(g.Ordinal, 10)},
		parquet.KeyValue{Key: "acequia.from", Value: string(g.From)}, parquet.KeyValue{Key: "acequia.to", Value: string(g.To)},
		parquet.KeyValue{Key: "acequia.stream", Value: t.schema.Stream}, parquet.KeyValue{Key: "acequia.rows", Value: strconv.FormatInt(p.rows, 10)},
		parquet.KeyValue{Key: "acequia.schema", Value: t.schema.Short()},
	)
	if err != nil {
		return errors.Join(err, p.file.Close())
	}
	p.file.Final = fileName(s.writer, t, p.folder, g.Ordinal, p.number)
	if err := s.sealer.Seal(ctx, p.file); err != nil {
		return err
	}
	s.writer.lake.give(t, p.out)
	s.sealed = append(s.sealed, p)
	return nil
}
