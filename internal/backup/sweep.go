package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

// The notes that stand in the place of a manifest: of who makes the backup, until it is made; and of who removes what was left of one that
// was cut off, so that a process that was frozen for long, and taken for dead, cannot make a manifest of files that are gone.
const (
	noteMaking = `{"note":"a backup is being made"}` + "\n"
	noteSwept  = `{"note":"the backup was cut off, and is being removed"}` + "\n"
)

func isNote(text []byte) bool { return string(text) == noteMaking || string(text) == noteSwept }

// begin notes that a backup is being made.
func (s *Store) begin(ctx context.Context, engine, id string) error {
	return kept(s.bucket.Update(ctx, manifestName(engine, id), func(old []byte) ([]byte, error) {
		if old != nil {
			return nil, fmt.Errorf("there is a backup %s already", id)
		}
		return []byte(noteMaking), nil
	}))
}

// end puts the manifest in the place of the note: from then on there is a backup.
func (s *Store) end(ctx context.Context, engine, id string, text []byte) error {
	return kept(s.bucket.Update(ctx, manifestName(engine, id), func(old []byte) ([]byte, error) {
		if string(old) != noteMaking {
			return nil, &fault.Error{
				Class: fault.Retryable, Code: codeInUse, Place: id, Err: errors.New("this process stood still for so long that its backup was taken for one that was cut off"),
				Remedy: "make another one; nothing of this backup counts",
			}
		}
		return text, nil
	}))
}

// sweep removes the files of backups that have no manifest and that nobody is making: those that were cut off.
func (s *Store) sweep(ctx context.Context, dry bool, out *Pruned) error {
	engines, err := s.engines(ctx)
	if err != nil {
		return err
	}
	for _, engine := range engines {
		if err := s.sweepEngine(ctx, engine, dry, out); err != nil {
			return err
		}
	}
	slices.Sort(out.Swept)
	return nil
}

// leftover is what there is of a backup, which may be whole.
type leftover struct {
	files, locks []string
	bytes        int64 // of the files
	uploads      []blob.Publication
}

// sweepEngine sweeps unless a backup is being made, whose files are of none yet.
func (s *Store) sweepEngine(ctx context.Context, engine string, dry bool, out *Pruned) error {
	unlock, held, err := s.bucket.TryLock(ctx, makingName(engine))
	if err != nil || !held {
		return kept(err)
	}
	defer unlock()
	all, err := s.leftovers(ctx, engine)
	if err != nil {
		return err
	}
	for id, l := range all {
		cut, err := s.isCut(ctx, engine, id, dry)
		if err != nil {
			return err
		}
		if !cut {
			continue
		}
		out.Swept = append(out.Swept, l.files...)
		for _, u := range l.uploads {
			out.Swept = append(out.Swept, u.Final)
		}
		if dry {
			continue
		}
		if err := s.remove(ctx, engine, id, l); err != nil {
			return err
		}
		out.Bytes += l.bytes
	}
	return nil
}

// isCut says that a backup is none, and holds back who is making it and is taken for dead.
func (s *Store) isCut(ctx context.Context, engine, id string, dry bool) (cut bool, err error) {
	err = s.bucket.Update(ctx, manifestName(engine, id), func(old []byte) ([]byte, error) {
		cut = old == nil || isNote(old) // without a note nobody can make a manifest
		if !cut || dry || string(old) != noteMaking {
			return nil, nil
		}
		return []byte(noteSwept), nil
	})
	return cut, kept(err)
}

// remove removes what is left of a backup, and at last the note.
func (s *Store) remove(ctx context.Context, engine, id string, l *leftover) error {
	for _, name := range append(l.files, l.locks...) {
		if err := errors.Join(ctx.Err(), s.bucket.Remove(ctx, name)); err != nil {
			return kept(err)
		}
		s.o.Probe(AfterRemove)
	}
	if err := s.bucket.Discard(ctx, l.uploads...); err != nil {
		return kept(err)
	}
	return kept(s.bucket.Remove(ctx, manifestName(engine, id)))
}

// leftovers gives what there is of each backup of an engine.
func (s *Store) leftovers(ctx context.Context, engine string) (map[string]*leftover, error) {
	files, err := s.bucket.Walk(ctx, engine)
	if err != nil {
		return nil, kept(err)
	}
	out := map[string]*leftover{}
	of := func(id string) *leftover {
		if out[id] == nil {
			out[id] = &leftover{}
		}
		return out[id]
	}
	for _, f := range files {
		base := path.Base(f.Name)
		if rest, ok := strings.CutPrefix(f.Name, engine+"/"+manifests+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			if m := lockRule.FindStringSubmatch(first); m != nil {
				of(m[1]).locks = append(of(m[1]).locks, f.Name)
			} else if id, ok := strings.CutSuffix(rest, ".json"); ok && wholeID.MatchString(id) {
				of(id)
			}
		} else if m := fileRule.FindStringSubmatch(base); m != nil {
			l := of(m[1])
			l.files = append(l.files, f.Name)
			if size, _, err := f.Stat(); err == nil { // else it went meanwhile
				l.bytes += size
			}
		}
	}
	uploads, err := s.uploads(ctx, engine)
	for id, of := range uploads {
		if out[id] == nil {
			out[id] = &leftover{}
		}
		out[id].uploads = of
	}
	return out, err
}

// uploads gives the files of each backup that are not complete, where the bucket keeps such.
func (s *Store) uploads(ctx context.Context, engine string) (map[string][]blob.Publication, error) {
	all, err := s.bucket.Leftovers(ctx, engine)
	if err != nil {
		return nil, kept(err)
	}
	out := map[string][]blob.Publication{}
	for _, u := range all {
		if m := fileRule.FindStringSubmatch(path.Base(u.Final)); m != nil && strings.HasPrefix(u.Final, engine+"/") {
			out[m[1]] = append(out[m[1]], u)
		}
	}
	return out, nil
}
