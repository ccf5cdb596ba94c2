package compaction

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
)

// Lanes tells how far the lanes of a pipeline are: *checkpoint.Store does.
type Lanes interface {
	Lanes(ctx context.Context, pipeline string) ([]checkpoint.LaneState, error)
}

// file is a file of a table that counts.
type file struct {
	name string
	size int64
	at   time.Time // when it was written
	rows int64     // known once its footer was read
	// It is the output of a swap whose inputs are not yet deleted: merged again its rows would stand in the folder three times.
	rests bool
}

// partition is a folder of a table.
type partition struct {
	folder string
	files  []file // that may be replaced
	newest time.Time
	left   int // files that may not: see settled
}

// settled says which files may be replaced. Recovery publishes what an intent names once more, and takes a name that is
// gone for data that was lost; so a file may go only when its group is at or below the checkpoint of its lane: then no intent
// names it, and none will. What no pipeline and no swap has written is not ours to touch.
type settled struct {
	lanes  Lanes
	groups map[string]map[string]int64 // the checkpoint's group by pipeline and short lane
}

func (s *settled) is(ctx context.Context, name string) (bool, error) {
	from, ok := lakefiles.OriginOf(name)
	if !ok {
		return lakefiles.IsOutput(name), nil
	}
	known, ok := s.groups[from.Pipeline]
	if !ok {
		known = map[string]int64{}
		states, err := s.lanes.Lanes(ctx, from.Pipeline)
		if err != nil {
			return false, fmt.Errorf("read checkpoints of %s: %w", from.Pipeline, err)
		}
		for _, lane := range states {
			short, group := lakefiles.ShortLane(lane.ID), lane.Group
			if other, ok := known[short]; ok { // two lanes of one short name: what is true of both
				group = min(group, other)
			}
			known[short] = group
		}
		s.groups[from.Pipeline] = known
	}
	group, ok := known[from.Lane]
	return ok && from.Group <= group, nil
}

// partitions gives the folders of a table in the order of their names.
func (r *run) partitions(ctx context.Context, table string) ([]*partition, error) {
	found, err := lakefiles.Find(ctx, r.o.Bucket, table)
	if err != nil {
		return nil, err
	}
	resting, err := lakefiles.Resting(ctx, r.o.Bucket, table)
	if err != nil {
		return nil, err
	}
	var out []*partition
	byFolder := map[string]*partition{}
	settled := settled{lanes: r.o.Lanes, groups: map[string]map[string]int64{}}
	for _, f := range found {
		name := f.Name
		size, at, err := f.Stat()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was replaced long ago, and deleted while we looked
		}
		if err != nil {
			return nil, blob.Classify(name, err)
		}
		folder := path.Dir(name)
		p := byFolder[folder]
		if p == nil {
			p = &partition{folder: folder}
			byFolder[folder], out = p, append(out, p)
		}
		if !lakefiles.IsOutput(name) && at.After(p.newest) {
			p.newest = at
		}
		ours, err := settled.is(ctx, name)
		if err != nil {
			return nil, err
		}
		if ours {
			p.files = append(p.files, file{name: name, size: size, at: at, rests: resting[name]})
		} else {
			p.left++
		}
	}
	return out, nil
}

// maxInputs bounds the files that are open at a time.
const maxInputs = 500

// bins chooses which files become one: the smallest first, as many as make a file of the target's size and rows. A file that
// would stay alone stays as it is.
func (r *run) bins(ctx context.Context, p *partition) ([][]file, error) {
	small := slices.DeleteFunc(slices.Clone(p.files), func(f file) bool { return f.rests || f.size >= r.o.Target })
	if len(small) < 2 {
		return nil, nil
	}
	slices.SortStableFunc(small, func(a, b file) int { return cmp.Compare(a.size, b.size) })
	var out [][]file
	var bin []file
	var size, rows int64
	for _, f := range small {
		var err error
		if f.rows, err = rowsOf(ctx, r.o.Bucket, f.name); err != nil {
			return nil, damaged(f.name, err)
		}
		if len(bin) > 0 && (size+f.size > r.o.Target || rows+f.rows > r.o.Rows || len(bin) == maxInputs) {
			out, bin, size, rows = append(out, bin), nil, 0, 0
		}
		bin, size, rows = append(bin, f), size+f.size, rows+f.rows
	}
	out = append(out, bin)
	for _, bin := range out { // as they were written, which may be the order of their keys
		slices.SortStableFunc(bin, func(a, b file) int { return a.at.Compare(b.at) })
	}
	return slices.DeleteFunc(out, func(bin []file) bool { return len(bin) < 2 }), nil
}

// rowsOf reads a footer.
func rowsOf(ctx context.Context, bucket blob.Files, name string) (rows int64, err error) {
	f, err := bucket.Open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	footer, err := parquet.Open(f, f.Size())
	if err != nil {
		return 0, err
	}
	return footer.Rows(), nil
}
