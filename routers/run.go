package routers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
)

// closeTimeout is for the Router alone: when it is closed, every slot has settled its last group.
const closeTimeout = time.Minute

// New prepares a run.
func New(p Pipeline, o Options) (*Run, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("new run: %w", err)
	}
	if o.Store == nil || o.Log == nil {
		return nil, errors.New("new run: a store and a log are needed")
	}
	if err := p.remembers(o.Store); err != nil {
		return nil, fmt.Errorf("new run: %w", err)
	}
	if o.Budget == nil {
		o.Budget = NewBudget(0)
	}
	if o.Probe == nil {
		o.Probe = func(string) {}
	}
	r := &Run{
		pipeline: p.withDefaults(), store: o.Store, budget: o.Budget, log: o.Log.With(slog.String("pipeline", p.Name)),
		probe: o.Probe, protocol: protocol(), board: newBoard(), stop: make(chan struct{}),
	}
	r.stopOnce = sync.OnceFunc(func() { close(r.stop) })
	r.lanes, r.share = newSchedule(r), alone{}
	if o.Team != nil {
		r.share = newShared(o.Team, r, o.Offers != nil)
	}
	if o.Offers != nil {
		r.offers = newOffering(r, o.Offers)
	}
	return r, nil
}

// Stop ends the reads, commits the open groups and lets Run return. It does not wait, and may be called more than once.
func (r *Run) Stop() { r.stopOnce() }

// Run returns when every lane has ended, was stopped, or has failed for good; the error joins those of the lanes that
// failed. The end of ctx is an orderly stop, as Stop is.
func (r *Run) Run(ctx context.Context) error {
	defer r.budget.forget(r)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, &routerLog{r.log})
	if err != nil {
		return fmt.Errorf("make router: %w", err)
	}
	defer context.AfterFunc(ctx, r.Stop)()
	// Work goes on after ctx has ended: hard ends only when an orderly stop has taken too long, reads when it begins.
	hard, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	reads, endReads := context.WithCancel(hard)
	var others sync.WaitGroup
	defer others.Wait()
	defer cutOff()
	others.Go(func() { r.limitStop(hard, endReads, cutOff) })
	defer r.offers.withdraw(hard)
	if err := r.firstLanes(reads); err != nil || isClosed(r.stop) {
		return err
	}
	defer r.share.begin()()
	others.Go(func() { r.lanes.keepFresh(reads) })
	if l, ok := r.pipeline.Source.(sources.Lagger); ok {
		others.Go(func() { r.watchLag(hard, l, r.board.setLag) })
	}
	if s, ok := r.pipeline.Source.(sources.Reporter); ok {
		others.Go(func() { r.watchSource(hard, s) })
	}
	router.AddMiddleware(keepError)
	for i := range r.pipeline.Slots {
		s := r.subscribe(router, fmt.Sprintf("slot-%d", i))
		others.Go(func() { s.serve(hard, reads) })
	}
	s := r.subscribe(router, "endless")
	others.Go(func() { s.serveEndless(hard, reads, router) })
	// The Router closes itself when the last slot has closed its channel. No signal cancels its context: that would
	// cancel the messages before they are durable.
	err = router.Run(context.WithoutCancel(ctx))
	if s, ok := r.pipeline.Source.(sources.Reporter); ok {
		asked, cancel := context.WithTimeout(hard, lastReport)
		r.askSource(asked, s) // what it tells last is of the whole run
		cancel()
	}
	return errors.Join(err, router.Close(), r.lanes.failures())
}

// subscribe gives the Router one more subscriber. The name is the only one of its kind in the run.
func (r *Run) subscribe(router *message.Router, name string) *slot {
	s := &slot{run: r, out: make(chan *message.Message)}
	router.AddConsumerHandler(r.pipeline.Name+"/"+name, "chunks", s, carry)
	return s
}

// limitStop ends the reads when the run is stopped, and cuts the work off when that takes too long.
func (r *Run) limitStop(ctx context.Context, endReads, cutOff func()) {
	defer endReads()
	select {
	case <-r.stop:
	case <-ctx.Done():
		return
	}
	endReads()
	if !wait(ctx, r.pipeline.StopTimeout, nil) {
		return
	}
	r.log.WarnContext(ctx, "stop takes too long, commits are cut off", slog.Duration("after", r.pipeline.StopTimeout))
	cutOff()
}

// firstLanes asks the source for its lanes until it gives them, fails for good, or the run is stopped.
func (r *Run) firstLanes(ctx context.Context) error {
	pace := backoff{retry: r.pipeline.Retry}
	for {
		err := r.lanes.refresh(ctx, all)
		if err == nil || isClosed(r.stop) {
			r.board.set(Running, nil)
			return nil
		}
		delay, more := pace.next()
		if fault.Of(err) != fault.Retryable || !more {
			r.board.set(Failed, err)
			r.log.ErrorContext(ctx, "lanes cannot be listed", errAttr(err))
			return err
		}
		r.board.set(Retrying, err)
		r.log.WarnContext(ctx, "lanes cannot be listed yet", slog.Duration("again_in", delay), errAttr(err))
		wait(ctx, delay, r.stop)
	}
}

// wait says whether the time went by before ctx or stop ended it.
func wait(ctx context.Context, d time.Duration, stop <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	return false
}

// lagEvery is how often a source or reader that can tell is asked how far behind it is.
const lagEvery = 5 * time.Second

func (r *Run) watchLag(ctx context.Context, l sources.Lagger, set func(sources.Lag)) {
	for {
		lag, err := l.Lag(ctx)
		switch {
		case err == nil:
			set(lag)
		case ctx.Err() == nil:
			r.log.DebugContext(ctx, "lag is not known", errAttr(err))
		}
		if !wait(ctx, lagEvery, nil) {
			return
		}
	}
}

// reportEvery is how often a source that can tell is asked how it reads its streams, and how long its answer may take.
const reportEvery = 10 * time.Second

// lastReport is how long a run that has ended waits for what its source tells.
const lastReport = 2 * time.Second

func (r *Run) watchSource(ctx context.Context, s sources.Reporter) {
	for r.askSource(ctx, s); wait(ctx, reportEvery, nil); r.askSource(ctx, s) {
	}
}

func (r *Run) askSource(ctx context.Context, s sources.Reporter) {
	var report sources.Report
	err := guard(func() (err error) {
		asked, cancel := context.WithTimeout(ctx, reportEvery)
		defer cancel()
		report, err = s.Report(asked)
		return err
	})
	switch {
	case err == nil:
		r.board.setSource(report)
	case ctx.Err() == nil:
		r.log.DebugContext(ctx, "source gives no report", errAttr(err))
	}
}

// routerLog hands Watermill's log on. What it calls information is detail here; it reports its own orderly end as an
// error, and each message of a failed group as one, which the lane tells once and with its reason.
type routerLog struct{ log *slog.Logger }

func (l *routerLog) Error(msg string, err error, fields watermill.LogFields) {
	level := slog.LevelError
	if msg == "All handlers stopped, closing router" || msg == "Handler returned error" {
		level = slog.LevelDebug
	}
	l.write(level, msg, fields.Add(watermill.LogFields{"error": err}))
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
	ctx := context.Background()
	if l.log.Enabled(ctx, level) {
		l.log.With(attributes(fields)...).Log(ctx, level, "watermill", slog.String("message", msg))
	}
}

func attributes(fields watermill.LogFields) []any {
	out := make([]any, 0, len(fields))
	for key, value := range fields {
		out = append(out, slog.Any(key, value))
	}
	return out
}

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }
