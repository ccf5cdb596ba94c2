package routers

import (
	"context"
	"errors"
	"log/slog"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
)

// streamError is a failure that concerns one stream of a lane alone.
type streamError struct {
	stream string
	error
}

// Unwrap gives the failure.
func (e *streamError) Unwrap() error { return e.error }

// ofStream marks a fatal error of a batch that concerns the stream of the batch alone.
func ofStream(err error, stream string) error {
	if fault.Of(err) == fault.Fatal && fault.Concerns(err, stream) {
		return &streamError{stream, err}
	}
	return err
}

// exclude tells a source that can leave a stream out of a lane that the lane has failed for good because of it, once a stream. true:
// the lane goes on without it.
func (r *Run) exclude(ctx context.Context, lane sources.Lane, before map[string]bool, why error) (goesOn bool) {
	source, ok := r.pipeline.Source.(sources.Excluder)
	if !ok || len(lane.Streams) == 0 {
		return false
	}
	stream := lane.Streams[0]
	if of, marked := errors.AsType[*streamError](why); marked {
		stream = of.stream
	} else if len(lane.Streams) > 1 {
		return false
	}
	if before[stream] {
		return false
	}
	before[stream] = true
	err := guard(func() (err error) {
		goesOn, err = source.Exclude(ctx, lane, stream, why)
		return err
	})
	log := r.log.With(slog.String("lane", lane.ID), slog.String("stream", stream))
	switch {
	case err != nil:
		log.WarnContext(ctx, "the stream cannot be left out of its lane", errAttr(err))
		return false
	case goesOn:
		log.ErrorContext(ctx, "the lane goes on without a stream", errAttr(why), slog.String("code", fault.Code(why)))
	}
	return goesOn
}
