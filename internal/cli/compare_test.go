package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/query"
)

// compare tells how what the clients were told, the items, the lake's files and the latest view differ: each must hold
// every id once. It is called when no program runs.
func (r *register) compare() error {
	told := map[string]bool{}
	for _, id := range r.told {
		told[id] = true
	}
	if len(told) == 0 {
		return errors.New("no game was registered")
	}
	items, err := itemIDs(r.ctx, r.dir)
	damage := errors.Join(err, differ("items", told, items))
	lake, err := lakeIDs(r.dir)
	damage = errors.Join(damage, err, differ("lake", told, lake))
	latest, err := latestIDs(r.ctx, r.dir)
	if fault.Code(err) != noSQL { // a build without cgo has no SQL to make the view with
		damage = errors.Join(damage, err, differ("latest", told, latest))
	}
	staged, err := filepath.Glob(filepath.Join(r.dir, "lake", "_staging", "*", "*"))
	if len(staged) > 0 {
		damage = errors.Join(damage, fmt.Errorf("staged left: %d files", len(staged)))
	}
	return errors.Join(damage, err)
}

// noSQL is the code of a build without cgo.
const noSQL = "ACQ-QUERY-001"

// differ says how often each id that was told is found, and what else is.
func differ(where string, told map[string]bool, found map[string]int) error {
	lost, doubled, unknown := 0, 0, 0
	for id := range told {
		switch {
		case found[id] == 0:
			lost++
		case found[id] > 1:
			doubled++
		}
	}
	for id := range found {
		if !told[id] {
			unknown++
		}
	}
	var damage error
	for _, wrong := range []struct {
		what string
		n    int
	}{{"lost", lost}, {"doubled", doubled}, {"unknown", unknown}} {
		if wrong.n > 0 {
			damage = errors.Join(damage, fmt.Errorf("%s %s: %d, where %d were told", where, wrong.what, wrong.n, len(told)))
		}
	}
	return damage
}

func itemIDs(ctx context.Context, dir string) (ids map[string]int, err error) {
	store, err := itemstore.Open(ctx, filepath.Join(dir, "items.db"), itemstore.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	all, err := store.List(ctx, "videogames", 1<<30, "")
	if err != nil {
		return nil, err
	}
	ids = map[string]int{}
	for _, item := range all {
		ids[item.Key]++
	}
	return ids, nil
}

// lakeIDs counts the ids in the files of the lake, with a reader that is not ours.
func lakeIDs(dir string) (map[string]int, error) {
	ids := map[string]int{}
	err := filepath.WalkDir(filepath.Join(dir, "lake", "videogames"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		return countIDs(path, ids)
	})
	return ids, err
}

func countIDs(path string, ids map[string]int) (err error) {
	f, err := os.Open(path) //nolint:gosec // of the test
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	type game struct {
		ID    string `parquet:"id"`
		Title string `parquet:"title"`
	}
	rows := parquet.NewGenericReader[game](f)
	found := make([]game, rows.NumRows())
	if n, err := rows.Read(found); n != len(found) {
		return fmt.Errorf("%s: %d of %d rows: %w", path, n, len(found), err)
	}
	for _, g := range found {
		ids[g.ID]++
		if g.Title != strings.TrimSpace(g.Title) {
			return fmt.Errorf("%s: title %q was not normalised", path, g.Title)
		}
	}
	return rows.Close()
}

// latestIDs counts the ids in the view of the newest versions, as SQL sees it.
func latestIDs(ctx context.Context, dir string) (ids map[string]int, err error) {
	engine, err := query.New(query.Config{Lake: filepath.Join(dir, "lake"), Scratch: ""})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	rows, err := engine.Query(ctx, query.Request{SQL: "select id from videogames_latest"})
	if err != nil {
		return nil, err
	}
	ids = map[string]int{}
	for rows.Next() {
		ids[rows.Row()[0].Text]++
	}
	if rows.Truncated() {
		err = errors.New("the view has more rows than a query gives")
	}
	return ids, errors.Join(err, rows.Err())
}
