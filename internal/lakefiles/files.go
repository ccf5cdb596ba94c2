// Package lakefiles says which files of a lake's table count, and replaces some of them by others in one step: a query
// sees the old files or the new ones, whatever crashes when.
//
// A table's journal, _swaps/<table>.json, holds its swaps. One that is pending has outputs that do not count yet; one
// that is done has inputs that count no more, and that are deleted after a grace time, so that whoever listed them
// before can still read them.
package lakefiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

const (
	folder = "_swaps" // Athena and Hive pass over names that begin with _
	suffix = ".parquet"
)

// State is how far a swap is.
type State string

// The states of a swap. What is over is forgotten.
const (
	Pending State = "pending" // the inputs count, the outputs do not
	Done    State = "done"    // the outputs count, the inputs do not
)

// Swap replaces files of a table by others. Names are relative to the lake's root.
type Swap struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	At          time.Time `json:"at"`                    // of the state
	DeleteAfter time.Time `json:"delete_after,omitzero"` // the inputs, once it is done
	Inputs      []string  `json:"inputs"`
	Outputs     []string  `json:"outputs,omitempty"` // none: the inputs are dropped
}

// journal is the file of a table's swaps.
type journal struct {
	Version  int    `json:"version"`
	Sequence int64  `json:"sequence"`        // grows with each change, so that two equal ones had nothing between them
	Owner    string `json:"owner,omitempty"` // the holder of the table, who alone may swap: a former one may not know yet
	Swaps    []Swap `json:"swaps"`

	// Groups are the greatest commit groups that swaps have replaced or dropped files of, by pipeline and lane.
	Groups map[string]map[string]int64 `json:"groups,omitempty"`
}

func journalName(table string) string { return folder + "/" + table + ".json" }

// decode reads a journal; no text is one without swaps.
func decode(table string, text []byte) (journal, error) {
	j := journal{Version: 1}
	if text == nil {
		return j, nil
	}
	err := json.Unmarshal(text, &j)
	if err == nil && j.Version != 1 {
		err = fmt.Errorf("it has version %d, this program reads 1", j.Version)
	}
	for _, s := range j.Swaps {
		if err == nil && s.State != Pending && s.State != Done {
			err = fmt.Errorf("swap %s is %q", s.ID, s.State)
		}
		for _, name := range slices.Concat(s.Inputs, s.Outputs) {
			if err == nil && !belongs(table, name) {
				err = fmt.Errorf("swap %s names %q", s.ID, name)
			}
		}
	}
	if err == nil {
		return j, nil
	}
	return j, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-LAKE-022", Place: journalName(table), Err: fmt.Errorf("read swaps of table %s: %w", table, err),
		Remedy: "restore the file from a copy: it says which files of the table count",
	}
}

// belongs says that a name is of a data file of the table, and nothing else.
func belongs(table, name string) bool {
	return strings.HasPrefix(name, table+"/") && strings.HasSuffix(name, suffix) && path.Clean(name) == name && filepath.IsLocal(filepath.FromSlash(name))
}

// excluded gives the files that do not count.
func (j *journal) excluded() map[string]bool {
	out := map[string]bool{}
	for _, s := range j.Swaps {
		names := s.Outputs
		if s.State == Done {
			names = s.Inputs
		}
		for _, name := range names {
			out[name] = true
		}
	}
	return out
}

func read(ctx context.Context, files blob.Files, table string) (journal, error) {
	text, err := files.Read(ctx, journalName(table))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return journal{}, fmt.Errorf("read swaps of table %s: %w", table, err)
	}
	return decode(table, text)
}

// Swaps gives the swaps of a table that are not over.
func Swaps(ctx context.Context, files blob.Files, table string) ([]Swap, error) {
	j, err := read(ctx, files, table)
	return j.Swaps, err
}

// Resting gives the outputs of swaps whose inputs are not yet deleted. Who merges files leaves them alone until then, so
// that no row stands more than twice in the folder: once in a file that counts, and once in one that does not.
func Resting(ctx context.Context, files blob.Files, table string) (map[string]bool, error) {
	swaps, err := Swaps(ctx, files, table)
	out := map[string]bool{}
	for _, s := range swaps {
		for _, name := range s.Outputs {
			out[name] = true
		}
	}
	return out, err
}

// looks is how often List tries; a swap takes longer than a walk, and seldom comes twice in a row.
const looks = 100

// errRestless is of a table whose journal changed whenever its files were listed.
var errRestless = errors.New("its files are being swapped all the time")

// List gives the names of the files of a table that count, as Find does.
func List(ctx context.Context, files blob.Files, table string) ([]string, error) {
	found, err := Find(ctx, files, table)
	return names(found), err
}

func names(found []blob.Info) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Name)
	}
	return out
}

// Find gives the files of a table that count, as of one moment, in the order of their names, which are relative to the
// lake's root. A table without files has none. What it gives can be read for the grace time of a swap at least.
func Find(ctx context.Context, files blob.Files, table string) ([]blob.Info, error) {
	return find(ctx, files, table, func() {})
}

// find calls walked between its two looks at the journal.
func find(ctx context.Context, files blob.Files, table string, walked func()) ([]blob.Info, error) {
	before, err := read(ctx, files, table)
	for range looks {
		if err != nil {
			return nil, err
		}
		var found []blob.Info
		if found, err = walk(ctx, files, table); err != nil {
			return nil, fmt.Errorf("list files of table %s: %w", table, err)
		}
		walked()
		var after journal
		if after, err = read(ctx, files, table); err != nil {
			return nil, err
		}
		if after.Sequence == before.Sequence { // the files are those of this journal
			excluded := after.excluded()
			return slices.DeleteFunc(found, func(f blob.Info) bool { return excluded[f.Name] }), nil
		}
		before = after
	}
	return nil, fault.Retry(fmt.Errorf("list files of table %s: %w", table, errRestless))
}

// walk gives all data files of a table, those that do not count too.
func walk(ctx context.Context, files blob.Files, table string) ([]blob.Info, error) {
	found, err := files.Walk(ctx, table)
	return slices.DeleteFunc(found, func(f blob.Info) bool { return !strings.HasSuffix(f.Name, suffix) }), err
}
