package sinktest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

// staging is a group that was cut.
type staging struct {
	writer  *writer
	group   sinks.Group
	serial  int
	batches []*record.Batch
	copies  []sinktest.Row
}

// Stage makes two parts, one of the even and one of the odd ids.
func (s *staging) Stage(context.Context) (sinks.Manifest, error) {
	w := s.writer
	rows := s.copies
	for _, b := range s.batches {
		rows = append(rows, w.rowsOf(b)...)
		if wrong := w.memory.wrong; wrong != "never releases" && wrong != "keeps a batch without a reference" {
			b.Release()
		}
	}
	var parts [2][]sinktest.Row
	for _, r := range rows {
		parts[r.ID&1] = append(parts[r.ID&1], r)
	}
	var m sinks.Manifest
	for i, rows := range parts {
		if len(rows) == 0 && w.memory.wrong != "stages empty parts" {
			continue
		}
		m.Files = append(m.Files, s.part(i, rows))
	}
	switch w.memory.wrong {
	case "visible after stage":
		w.memory.store.put("early", part{rows: rows})
	case "stages beside its manifest":
		w.memory.store.stage("beside", part{lane: w.lane})
	case "an empty manifest":
		w.memory.store.mu.Lock()
		defer w.memory.store.mu.Unlock()
		for _, f := range m.Files {
			w.memory.store.visible[f.Name] = w.memory.store.staged[f.Staged]
			delete(w.memory.store.staged, f.Staged)
		}
		return sinks.Manifest{}, nil
	}
	return m, nil
}

func (s *staging) part(i int, rows []sinktest.Row) sinks.File {
	w := s.writer
	who := fmt.Sprintf("%s-%s-e%d", w.lane.Pipeline, w.lane.ID, w.lane.Epoch)
	if w.memory.wrong == "lanes share names" {
		who = "all"
	}
	f := sinks.File{
		Name: fmt.Sprintf("%s-g%d-%d", who, s.group.Ordinal, i), Staged: fmt.Sprintf("%s-%d-%d", who, s.serial, i),
		Rows: int64(len(rows)), Bytes: int64(1 + len(rows)), Digest: digestOf(rows),
	}
	switch w.memory.wrong {
	case "groups share names":
		f.Name = fmt.Sprintf("%s-%d", who, i)
	case "pipelines share a lane":
		f.Staged = fmt.Sprintf("%s-e%d-%d-%d", w.lane.ID, w.lane.Epoch, s.serial, i)
	}
	w.memory.store.stage(f.Staged, part{lane: w.lane, rows: rows, digest: f.Digest})
	w.mu.Lock()
	w.mine[f.Staged] = true
	w.mu.Unlock()
	switch w.memory.wrong {
	case "miscounts":
		f.Rows++
	case "no digest":
		f.Digest = ""
	}
	return f
}

func (s *store) stage(name string, p part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[name] = p
}

func (s *store) put(name string, p part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visible[name] = p
}

// Publish moves every part to its final name.
func (w *writer) Publish(_ context.Context, m sinks.Manifest) error {
	s := w.memory.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.memory.wrong == "shows the last group only" {
		clear(s.visible)
	}
	for _, f := range m.Files {
		if err := w.show(f); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		if w.memory.wrong != "leaves staged names" {
			delete(s.staged, f.Staged)
		}
	}
	return nil
}

func (w *writer) show(f sinks.File) error {
	s, wrong := w.memory.store, w.memory.wrong
	staged, ok := s.staged[f.Staged]
	seen, taken := s.visible[f.Name]
	w.mu.Lock()
	mine := w.mine[f.Staged]
	w.mu.Unlock()
	switch {
	case wrong == "knows its own parts only" && !mine:
		return fmt.Errorf("%s is not known", f.Staged)
	case wrong == "publishing again doubles" && taken:
		s.visible[f.Name+"-again"] = seen
		return nil
	case wrong == "publishing again fails" && taken && !ok:
		return sinks.ErrVanished
	case taken && seen.digest != f.Digest && wrong != "overwrites" && wrong != "takes a conflict for success" && wrong != "miscounts" && wrong != "no digest":
		if wrong == "a conflict without its name" {
			return errors.New("there is something")
		}
		return sinks.ErrConflict
	case !ok && !taken && wrong == "takes a loss for success":
		return nil
	case !ok && !taken && wrong == "a loss without its name":
		return errors.New("there is nothing")
	case !ok && !taken:
		return sinks.ErrVanished
	case ok && (!taken || wrong == "overwrites"):
		s.visible[f.Name] = staged
	}
	return nil
}

// remove drops staged parts.
func (w *writer) remove(which func(p part) bool) error {
	s := w.memory.store
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.staged, func(_ string, p part) bool { return which(p) })
	return nil
}

func (w *writer) Sweep(context.Context) error {
	wrong := w.memory.wrong
	return w.remove(func(p part) bool {
		switch wrong {
		case "sweeps nothing":
			return false
		case "sweeps the last epoch only":
			return p.lane.Pipeline == w.lane.Pipeline && p.lane.ID == w.lane.ID && p.lane.Epoch == w.lane.Epoch-1
		case "compares epochs as text":
			return p.lane.Pipeline == w.lane.Pipeline && p.lane.ID == w.lane.ID && fmt.Sprint(p.lane.Epoch) < fmt.Sprint(w.lane.Epoch)
		}
		return (p.lane.Pipeline == w.lane.Pipeline || wrong == "sweeps other pipelines") && (p.lane.ID == w.lane.ID || wrong == "sweeps other lanes") &&
			(p.lane.Epoch < w.lane.Epoch || wrong == "sweeps its own parts" && p.lane.Epoch == w.lane.Epoch || wrong == "sweeps later epochs" && p.lane.Epoch > w.lane.Epoch)
	})
}

func (w *writer) Withdraw(_ context.Context, m sinks.Manifest) error {
	s, wrong := w.memory.store, w.memory.wrong
	s.mu.Lock()
	defer s.mu.Unlock()
	visible := 0
	for i, f := range m.Files {
		if wrong != "withdraws nothing" {
			delete(s.staged, f.Staged)
		}
		if _, ok := s.visible[f.Name]; ok && (wrong != "looks at the first part only" || i == 0) {
			visible++
		}
		if wrong == "withdraws what is visible" {
			delete(s.visible, f.Name)
		}
	}
	switch {
	case wrong == "never sees what is visible":
		return nil
	case visible > 0 || wrong == "always sees something":
		return sinks.ErrVisible
	}
	return nil
}
