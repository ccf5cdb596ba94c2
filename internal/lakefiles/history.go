package lakefiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet"
)

// History is which commit groups of a pipeline's lanes a lake has had: those of the files that are there, and those of the files
// that swaps have replaced or dropped.
type History struct {
	bucket   blob.Files
	pipeline string
	tables   []string
	files    map[string]int64 // the greatest group by short lane: two lanes may have one
	swapped  map[string]int64 // the greatest group by lane
}

// tableFolder is where the descriptions of tables are, by their names.
const tableFolder = "_tables"

// ReadHistory walks the tables of a lake.
func ReadHistory(ctx context.Context, bucket blob.Files, pipeline string) (*History, error) {
	h := &History{bucket: bucket, pipeline: pipeline, files: map[string]int64{}, swapped: map[string]int64{}}
	entries, err := bucket.Walk(ctx, tableFolder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(strings.TrimPrefix(e.Name, tableFolder+"/"), ".json")
		if ok && !strings.Contains(name, "/") {
			h.tables = append(h.tables, name)
		}
	}
	for _, table := range h.tables {
		j, err := read(ctx, bucket, table)
		if err != nil {
			return nil, err
		}
		for lane, group := range j.Groups[pipeline] {
			h.swapped[lane] = max(h.swapped[lane], group)
		}
		if err := h.each(ctx, table, func(_ string, from Origin) error {
			h.files[from.Lane] = max(h.files[from.Lane], from.Group)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// each gives the files of the pipeline in a table.
func (h *History) each(ctx context.Context, table string, do func(name string, from Origin) error) error {
	found, err := walk(ctx, h.bucket, table)
	if err != nil {
		return fmt.Errorf("list files of table %s: %w", table, err)
	}
	for _, f := range found {
		if from, ok := OriginOf(f.Name); ok && from.Pipeline == h.pipeline {
			if err := do(f.Name, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// After finds a group of a lane that is greater than the given one, and says where it is; 0: there was none when the history was
// read.
func (h *History) After(ctx context.Context, lane string, group int64) (found int64, where string, err error) {
	if h.swapped[lane] > group {
		return h.swapped[lane], "files that were compacted or dropped", nil
	}
	short := ShortLane(lane)
	if h.files[short] <= group {
		return 0, "", nil
	}
	for _, table := range h.tables {
		err = h.each(ctx, table, func(name string, from Origin) error {
			if from.Lane != short || from.Group <= max(group, found) {
				return nil
			}
			of, err := laneOf(ctx, h.bucket, name)
			if err == nil && of == lane {
				found, where = from.Group, name
			}
			return err
		})
		if err != nil {
			return 0, "", err
		}
	}
	return found, where, nil
}

// laneOf reads the lane of a file from its footer: its name has the short form. A file that has gone meanwhile has none.
func laneOf(ctx context.Context, bucket blob.Files, name string) (string, error) {
	f, err := bucket.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	in, err := parquet.Open(f, f.Size())
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	lane, _ := in.Lookup(LaneKey)
	return lane, nil
}

// LaneKey is the entry of a file's footer that names its lane.
const LaneKey = "acequia.lane"

// replaced notes the greatest group of each lane whose files a swap takes away. What cannot be read is passed over: it says less of
// what the lake has had, and nothing wrong.
func (j *journal) replaced(ctx context.Context, bucket blob.Files, inputs []string) {
	type lane struct{ pipeline, short string }
	last := map[lane]Origin{}
	names := map[lane]string{}
	for _, name := range inputs {
		from, ok := OriginOf(name)
		if at := (lane{from.Pipeline, from.Lane}); ok && from.Group > last[at].Group {
			last[at], names[at] = from, name
		}
	}
	for at, from := range last {
		id, err := laneOf(ctx, bucket, names[at])
		if err != nil || id == "" {
			continue
		}
		if j.Groups == nil {
			j.Groups = map[string]map[string]int64{}
		}
		if j.Groups[at.pipeline] == nil {
			j.Groups[at.pipeline] = map[string]int64{}
		}
		j.Groups[at.pipeline][id] = max(j.Groups[at.pipeline][id], from.Group)
	}
}
