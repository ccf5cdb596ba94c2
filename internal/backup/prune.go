package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Keep says which backups stay: the newest of each of the last so many days, weeks and months that have one, in UTC. Weeks begin on Monday.
type Keep struct {
	Daily   int `json:"daily"`
	Weekly  int `json:"weekly"`
	Monthly int `json:"monthly"`
}

// PruneOptions say what is removed.
type PruneOptions struct {
	Keep Keep
	Dry  bool // remove nothing
}

// Pruned is what pruning did, or would do.
type Pruned struct {
	Kept    []Decision `json:"kept"`
	Removed []Decision `json:"removed"`
	InUse   []Decision `json:"in_use"` // they would be removed, and somebody reads them
	Swept   []string   `json:"swept"`  // files of no backup, such as of one that was cut off
	Bytes   int64      `json:"bytes"`  // that were freed
}

// Decision is a backup, and why it stays.
type Decision struct {
	ID       string    `json:"id"`
	SourceDB string    `json:"source_db"`
	Source   string    `json:"source"`
	At       time.Time `json:"at"`
	Rows     int64     `json:"rows"`
	Bytes    int64     `json:"bytes"`
	Why      []string  `json:"why,omitempty"` // daily, weekly, monthly, newest or damaged
}

// Prune removes the backups that the rules do not keep, and files of no backup. The newest whole backup of each database always stays; so
// does what is damaged, until somebody has looked at it.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (*Pruned, error) {
	out := &Pruned{Kept: []Decision{}, Removed: []Decision{}, InUse: []Decision{}, Swept: []string{}}
	groups, there := map[string][]*manifest{}, map[string]map[string]int64{}
	var order []string
	err := s.each(ctx, "", func(engine, id string, m *manifest, err error) {
		if err != nil {
			out.Kept = append(out.Kept, Decision{ID: id, SourceDB: engine, Why: []string{"damaged"}})
			return
		}
		of := strings.Join(append([]string{engine, m.Source, m.Database}, m.Selection...), "\x00")
		if groups[of] == nil {
			order = append(order, of)
		}
		groups[of] = append(groups[of], m)
	})
	if err != nil {
		return nil, err
	}
	for _, of := range order {
		slices.SortStableFunc(groups[of], func(a, b *manifest) int { return byMoment(&a.Backup, &b.Backup) })
		engine, _, _ := strings.Cut(of, "\x00")
		if there[engine] == nil {
			if there[engine], err = s.sizes(ctx, engine); err != nil {
				return nil, err
			}
		}
		why := decide(groups[of], o.Keep, there[engine])
		for i, m := range groups[of] {
			d := Decision{m.ID, m.SourceDB, m.Source, m.At, m.Rows, m.Bytes, why[i]}
			if len(why[i]) > 0 {
				out.Kept = append(out.Kept, d)
				continue
			}
			if err := s.forget(ctx, m, d, o.Dry, out); err != nil {
				return out, err
			}
		}
	}
	return out, s.sweep(ctx, o.Dry, out)
}

// decide says why each of the backups of one database, oldest first, stays; nothing: it goes. there are the files of their engine.
func decide(all []*manifest, keep Keep, there map[string]int64) [][]string {
	why := make([][]string, len(all))
	good := make([]bool, len(all))
	for i, m := range all {
		if good[i] = m.complete(there); !good[i] {
			why[i] = append(why[i], "damaged")
		}
	}
	rule := func(name string, n int, period func(time.Time) string) {
		seen := map[string]bool{}
		for i := len(all) - 1; i >= 0 && len(seen) < n; i-- {
			if p := period(all[i].At.UTC()); good[i] && !seen[p] {
				seen[p] = true
				why[i] = append(why[i], name)
			}
		}
	}
	rule("daily", keep.Daily, func(t time.Time) string { return t.Format(time.DateOnly) })
	rule("weekly", keep.Weekly, func(t time.Time) string {
		year, week := t.ISOWeek()
		return fmt.Sprint(year, week)
	})
	rule("monthly", keep.Monthly, func(t time.Time) string { return t.Format("2006-01") })
	if newest := slices.Index(reversed(good), true); newest >= 0 {
		i := len(all) - 1 - newest
		why[i] = append(why[i], "newest")
	}
	return why
}

func reversed(in []bool) []bool {
	out := slices.Clone(in)
	slices.Reverse(out)
	return out
}

// sizes gives the files of an engine, and how many bytes each has.
func (s *Store) sizes(ctx context.Context, engine string) (map[string]int64, error) {
	files, err := s.bucket.Walk(ctx, engine)
	if err != nil {
		return nil, kept(err)
	}
	out := map[string]int64{}
	for _, f := range files {
		if size, _, err := f.Stat(); err == nil { // else it went meanwhile
			out[f.Name] = size
		}
	}
	return out, nil
}

// complete says whether every file is there with its size. That they hold what was kept is for Verify to say.
func (m *manifest) complete(there map[string]int64) bool {
	for i := range m.Tables {
		for _, f := range m.Tables[i].Files {
			if size, ok := there[f.Name]; !ok || size != f.Bytes {
				return false
			}
		}
	}
	return true
}

// forget removes a backup: its manifest first, durably, so that no half of it is ever listed.
func (s *Store) forget(ctx context.Context, m *manifest, d Decision, dry bool, out *Pruned) error {
	if dry {
		out.Removed = append(out.Removed, d)
		return nil
	}
	lock := lockName(m.SourceDB, m.ID)
	unlock, held, err := s.bucket.TryLock(ctx, lock)
	if err != nil {
		return kept(err)
	}
	if !held {
		out.InUse = append(out.InUse, d)
		return nil
	}
	defer unlock()
	err = s.bucket.Remove(ctx, manifestName(m.SourceDB, m.ID))
	if err == nil {
		err = s.bucket.SyncFolder(m.SourceDB + "/" + manifests)
	}
	if err != nil {
		return kept(err)
	}
	s.o.Probe(AfterForget)
	out.Removed = append(out.Removed, d)
	out.Bytes += m.Bytes
	for i := range m.Tables {
		for _, f := range m.Tables[i].Files {
			if err := errors.Join(ctx.Err(), s.bucket.Remove(ctx, f.Name)); err != nil {
				return kept(err)
			}
			s.o.Probe(AfterRemove)
		}
	}
	return kept(s.bucket.Remove(ctx, lock))
}
