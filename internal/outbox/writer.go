package outbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// writer takes the records of one incarnation of a lane. An open group is a file of messages.
type writer struct {
	dir       *blob.Dir
	transport Transport
	lane      sinks.Lane
	name      string // of the lane, also among other pipelines; its folder
	serial    int
	open      *blob.File // nil: the group is empty
	rows      int64
	buf       []byte
}

// Write puts the messages of a batch into the file of the open group.
func (w *writer) Write(_ context.Context, b *record.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	all, err := w.transport.Messages(b, w.name)
	if err != nil {
		return err
	}
	if w.open == nil {
		w.serial++
		if w.open, err = w.dir.Create(fmt.Sprintf("%s/e%d-%d.tmp", w.name, w.lane.Epoch, w.serial)); err != nil {
			return err
		}
	}
	w.buf = w.buf[:0]
	for i := range all {
		w.buf = all[i].append(w.buf)
	}
	if _, err := w.open.Write(w.buf); err != nil {
		return fmt.Errorf("stage messages: %w", err)
	}
	w.rows += int64(b.Rows)
	return nil
}

// Cut hands the file over and starts with none.
func (w *writer) Cut(g sinks.Group) sinks.Staging {
	s := &staging{writer: w, group: g, file: w.open, rows: w.rows}
	w.open, w.rows = nil, 0
	return s
}

// staging is a group that was cut.
type staging struct {
	writer *writer
	group  sinks.Group
	file   *blob.File
	rows   int64
}

// Stage puts the file on disk. Its name is that of the group and of what is in it: the ids of its messages begin with it.
func (s *staging) Stage(ctx context.Context) (sinks.Manifest, error) {
	if s.file == nil {
		return sinks.Manifest{}, nil
	}
	f, w := s.file, s.writer
	var sealer blob.Sealer
	if err := errors.Join(sealer.Seal(ctx, f), sealer.Wait()); err != nil {
		return sinks.Manifest{}, err
	}
	if err := w.dir.SyncFolder(w.name); err != nil {
		return sinks.Manifest{}, err
	}
	return sinks.Manifest{Files: []sinks.File{{
		Name: fmt.Sprintf("%s-g%d-%s", w.name, s.group.Ordinal, f.Digest()), Staged: f.Name, Rows: s.rows, Bytes: f.Bytes, Digest: f.Digest(),
	}}}, nil
}

// Publish sends the messages of each file, then notes that it was sent. A death between the two sends them again.
func (w *writer) Publish(ctx context.Context, m sinks.Manifest) error {
	for _, f := range m.Files {
		sent, err := w.sent(f)
		if err == nil && !sent {
			if err = w.send(ctx, f); err == nil {
				err = w.note(ctx, f)
			}
		}
		if err == nil {
			err = w.dir.Remove(ctx, f.Staged)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends the messages of a file, in order. Their ids are the same whoever sends them, and however often.
func (w *writer) send(ctx context.Context, f sinks.File) error {
	file, err := os.Open(filepath.Join(w.dir.Root(), filepath.FromSlash(f.Staged)))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", f.Staged, sinks.ErrVanished)
	}
	if err != nil {
		return blob.Classify(f.Staged, err)
	}
	defer func() { _ = file.Close() }()
	r := bufio.NewReaderSize(file, 256<<10)
	for n := 0; ; {
		all, err := together(r, f.Name, n)
		if err != nil {
			return fault.Stop(fmt.Errorf("%s: %w", f.Staged, err))
		}
		if len(all) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.transport.Send(ctx, all); err != nil {
			return err
		}
		n += len(all)
	}
}

// A transport is given so many messages, or bytes of them, at a time.
const (
	mostTogether  = 200
	bytesTogether = 4 << 20
)

// together reads the next messages, and numbers them from n on; none: the file has ended.
func together(r *bufio.Reader, group string, n int) (all []Message, err error) {
	for size := 0; len(all) < mostTogether && size < bytesTogether; {
		next, err := readMessage(r)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		next.ID = fmt.Sprintf("%s-%d", group, n+len(all))
		all, size = append(all, next), size+len(next.Payload)
	}
	return all, nil
}

// remembered is how many groups that were sent a lane knows. Recovery asks for the last one.
const remembered = 64

// notes is the file that names the groups of the lane that were sent, the last one last.
func (w *writer) notes() string { return w.name + "/sent" }

func (w *writer) note(ctx context.Context, f sinks.File) error {
	return w.dir.Update(ctx, w.notes(), func(old []byte) ([]byte, error) {
		names := append(strings.Fields(string(old)), f.Name)
		return []byte(strings.Join(names[max(0, len(names)-remembered):], "\n") + "\n"), nil
	})
}

func (w *writer) sent(f sinks.File) (bool, error) {
	text, err := os.ReadFile(filepath.Join(w.dir.Root(), filepath.FromSlash(w.notes())))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, blob.Classify(w.notes(), err)
	}
	return slices.Contains(strings.Fields(string(text)), f.Name), nil
}

// Sweep removes what lower epochs have staged. Recovery calls it after it has rolled the intent forward.
func (w *writer) Sweep(ctx context.Context) error {
	names, err := w.dir.List(w.name)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, _, _ := strings.Cut(strings.TrimPrefix(name, "e"), "-")
		if epoch, err := strconv.ParseInt(text, 10, 64); err != nil || epoch >= w.lane.Epoch {
			continue
		}
		if err := w.dir.Remove(ctx, w.name+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// Withdraw removes the staged files and makes sure that none of the group was sent as a whole. What was sent in part is sent
// again with the next group: that is at-least-once.
func (w *writer) Withdraw(ctx context.Context, m sinks.Manifest) error {
	for _, f := range m.Files {
		if err := w.dir.Remove(ctx, f.Staged); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		sent, err := w.sent(f)
		if err != nil {
			return err
		}
		if sent {
			return fmt.Errorf("%s: %w", f.Name, sinks.ErrVisible)
		}
	}
	return nil
}

// Close lets go of the file of a group that was never cut.
func (w *writer) Close(context.Context) error {
	if w.open == nil {
		return nil
	}
	err := w.open.Close()
	w.open = nil
	return err
}
