package routers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// closeTimeout is for the Router alone: when it is closed, every slot has settled its last group.
const closeTimeout = time.Minute

// Run returns when every lane has ended, was stopped, or has failed for good. ctx only bounds the start: a run is
// ended with Stop, because cancelling the Router would cancel the messages before they are durable.
func (r *Run) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, &routerLog{r.Log})
	if err != nil {
		return fmt.Errorf("make router: %w", err)
	}
	if err := r.lanes.refresh(ctx); err != nil {
		return err
	}
	for i := range r.pipeline.Slots {
		name := fmt.Sprintf("%s/slot-%d", r.pipeline.Name, i)
		router.AddConsumerHandler(name, "chunks", &slot{r}, carry)
	}
	// The Router closes itself when the last slot closes its channel.
	err = router.Run(context.WithoutCancel(ctx))
	return errors.Join(err, router.Close(), r.lanes.failures())
}

// routerLog hands Watermill's log on. What it calls information is detail here, and it reports its own orderly end as
// an error.
type routerLog struct{ log *slog.Logger }

func (l *routerLog) Error(msg string, err error, fields watermill.LogFields) {
	if msg == "All handlers stopped, closing router" || msg == "Handler returned error" { // the lane tells it, with its reason
		return
	}
	l.write(slog.LevelError, msg, fields.Add(watermill.LogFields{"err": err}))
}

func (l *routerLog) Info(msg string, fields watermill.LogFields) {
	l.write(slog.LevelDebug, msg, fields)
}
func (l *routerLog) Debug(msg string, fields watermill.LogFields) {
	l.write(slog.LevelDebug, msg, fields)
}
func (l *routerLog) Trace(string, watermill.LogFields) {}

func (l *routerLog) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return &routerLog{l.log.With(attributes(fields)...)}
}

func (l *routerLog) write(level slog.Level, msg string, fields watermill.LogFields) {
	l.log.With(attributes(fields)...).Log(context.Background(), level, "watermill", slog.String("message", msg)) //nolint:contextcheck // Watermill gives none
}

func attributes(fields watermill.LogFields) []any {
	out := make([]any, 0, len(fields))
	for key, value := range fields {
		out = append(out, slog.Any(key, value))
	}
	return out
}
