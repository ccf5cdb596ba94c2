package lake

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/sinks"
)

func publications(m sinks.Manifest) []blob.Publication {
	files := make([]blob.Publication, len(m.Files))
	for i, f := range m.Files {
		files[i] = blob.Publication{Staged: f.Staged, Final: f.Name, Digest: f.Digest, Upload: f.Upload, Bytes: f.Bytes}
	}
	return files
}

// sweepEvery is how long after a sweep the next one comes: an owner that was frozen may have staged something since.
const sweepEvery = 15 * time.Minute

// Sweep removes what lower epochs have staged. Recovery calls it after it has rolled the intent forward.
func (w *writer) Sweep(ctx context.Context) error {
	w.again = time.Now().Add(sweepEvery)
	staged, err := w.lake.bucket.Leftovers(ctx, w.staging())
	if err != nil {
		return err
	}
	for _, p := range staged {
		if w.left(p) {
			if err := w.lake.bucket.Discard(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// left says whether something staged is of a lower epoch of the lane. A bucket knows it by its staged or by its final name.
func (w *writer) left(p blob.Publication) bool {
	if p.Final != "" {
		from, ok := lakefiles.OriginOf(p.Final)
		return ok && from.Pipeline == w.lane.Pipeline && from.Lane == w.lane8 && from.Epoch < w.lane.Epoch
	}
	text, _, _ := strings.Cut(strings.TrimPrefix(path.Base(p.Staged), "e"), "-")
	epoch, err := strconv.ParseInt(text, 10, 64)
	return err == nil && epoch < w.lane.Epoch
}

// sweepAgain sweeps when it is time. What it cannot remove harms nobody, and it is tried again.
func (w *writer) sweepAgain(ctx context.Context) {
	if w.again.IsZero() || time.Now().Before(w.again) {
		return
	}
	if err := w.Sweep(ctx); err != nil {
		w.lake.log.WarnContext(ctx, "what former owners staged could not be removed", slog.String("lane", w.lane.ID), slog.String("error", err.Error()))
	}
}

// Prove looks for files of later groups of the lane, also for those that were compacted or dropped. The lake is walked once a
// process: what is published later is known to the state.
func (w *writer) Prove(ctx context.Context, group int64) error {
	w.group = group + 1
	h, err := w.lake.history(ctx, w.lane.Pipeline)
	if err != nil {
		return err
	}
	found, where, err := h.After(ctx, w.lane.ID, group)
	if err != nil || found == 0 {
		return err
	}
	return fmt.Errorf("group %d of lane %s is in %s, and the state ends at group %d: %w", found, w.lane.ID, where, group, sinks.ErrAhead)
}

// Withdraw removes what is left of a manifest's staged files and makes sure that nothing of it is visible.
func (w *writer) Withdraw(ctx context.Context, m sinks.Manifest) error {
	if err := w.lake.bucket.Discard(ctx, publications(m)...); err != nil {
		return err
	}
	for _, f := range m.Files {
		visible, err := w.lake.bucket.Exists(ctx, f.Name)
		if err != nil {
			return err
		}
		if visible {
			return fmt.Errorf("%s: %w", f.Name, sinks.ErrVisible)
		}
	}
	return nil
}
