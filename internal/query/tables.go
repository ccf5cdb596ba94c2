package query

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

// TableInfo tells of one table of the lake.
type TableInfo struct {
	Name      string   `json:"name"`
	Views     []string `json:"views"`     // what SQL can name: the table and the views on it
	Columns   []Column `json:"columns"`   // fields, then system columns
	Partition []string `json:"partition"` // the columns of its folders
	Files     int      `json:"files"`
	Bytes     int64    `json:"bytes"`
	Rows      int64    `json:"rows"`  // in the files, every version of every record
	First     string   `json:"first"` // partition, such as "dt=2026-11-24"; "" when there is no file
	Last      string   `json:"last"`
}

// Tables tells of every table, in the order of their names. It reads the footers of files that it has not seen
// before. It works in a build without SQL, too.
func (e *Engine) Tables(ctx context.Context) ([]TableInfo, error) {
	tables, err := e.cfg.Catalog(ctx, e.cfg.Lake)
	if err != nil {
		return nil, cannotOpen(err)
	}
	out := make([]TableInfo, len(tables))
	for i, t := range tables {
		if out[i], err = e.survey(ctx, t); err != nil {
			return nil, cannotOpen(err)
		}
	}
	return out, nil
}

// Table tells of one table, named by itself or by one of its views.
func (e *Engine) Table(ctx context.Context, name string) (TableInfo, error) {
	tables, err := e.cfg.Catalog(ctx, e.cfg.Lake)
	if err != nil {
		return TableInfo{}, cannotOpen(err)
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
		if t.Name != name && !slices.ContainsFunc(t.Views, func(v View) bool { return v.Name == name }) {
			continue
		}
		info, err := e.survey(ctx, t)
		if err != nil {
			return TableInfo{}, cannotOpen(err)
		}
		return info, nil
	}
	remedy := "the lake has no table yet"
	if len(names) > 0 {
		remedy = "use one of " + strings.Join(names, ", ")
	}
	return TableInfo{}, &fault.Error{Code: "ACQ-QUERY-011", Err: fmt.Errorf("there is no table %q", name), Remedy: remedy}
}

// survey counts a table's files, their bytes and rows. Files are immutable, so a file's rows are read once.
func (e *Engine) survey(ctx context.Context, table LakeTable) (TableInfo, error) {
	t := TableInfo{Name: table.Name, Columns: table.Columns, Partition: table.Partition}
	for _, v := range table.Views {
		t.Views = append(t.Views, v.Name)
	}
	root, folder := e.cfg.Lake, t.Name
	if table.Folder != "" {
		root, folder = filepath.Split(table.Folder)
	}
	e.surveying.Lock()
	defer e.surveying.Unlock()
	known, seen := e.counted[t.Name], make(map[string]int64)
	names, err := lakefiles.List(ctx, blob.Within(root), folder)
	if err != nil {
		return TableInfo{}, err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return TableInfo{}, ctx.Err()
		}
		rows, size, err := count(filepath.Join(root, filepath.FromSlash(name)), name, known)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was replaced long ago, and deleted while we looked
		}
		if err != nil {
			return TableInfo{}, fmt.Errorf("survey table %s: %w", t.Name, err)
		}
		seen[name] = rows
		t.Files++
		t.Rows += rows
		t.Bytes += size
		partition := strings.TrimPrefix(path.Dir(name), folder+"/")
		if t.First == "" || partition < t.First {
			t.First = partition
		}
		t.Last = max(t.Last, partition)
	}
	if e.counted == nil {
		e.counted = make(map[string]map[string]int64)
	}
	e.counted[t.Name] = seen
	return t, nil
}

// count gives the rows of a file, as they are known or from its footer, and its size.
func count(file, name string, known map[string]int64) (rows, size int64, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, 0, err
	}
	rows, ok := known[name]
	if !ok {
		rows, err = rowsOf(file)
	}
	return rows, info.Size(), err
}

// rowsOf reads the number of rows from a file's footer.
func rowsOf(file string) (int64, error) {
	f, err := os.Open(file) //nolint:gosec // a path that the list of the lake gave
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	footer, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return 0, fmt.Errorf("read footer of %s: %w", file, err)
	}
	return footer.NumRows(), nil
}
