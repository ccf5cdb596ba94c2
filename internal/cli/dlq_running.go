package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/web"
)

// retryEvery is how often a running process is asked how far a retry is.
const retryEvery = 500 * time.Millisecond

// retryRunning asks the process that holds a state directory to send dead letters again, and waits until it has.
func (c dlqRetryCmd) retryRunning(ctx context.Context, dir string) (app.Retried, error) {
	at, err := app.ReadAddress(dir)
	if err != nil {
		return app.Retried{}, &fault.Error{
			Code: codeNobody, Place: dir, Err: errors.New("no acequia process with a web server runs on this directory"),
			Remedy: "name the configuration with -f; if it runs without a web server, stop it first",
		}
	}
	began := time.Now()
	var states []web.RetryState
	err = holder{dir: dir}.ask(ctx, http.MethodPost, web.RetriesPath, web.RetryOrder{Pipeline: c.Pipeline, IDs: c.IDs}, &states)
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for err == nil {
		state, found := web.RetryState{}, false
		for _, s := range states {
			// The clocks are one machine's: an older one is of an earlier request, which chose other letters.
			if s.Pipeline == c.Pipeline && !s.Began.Before(began) {
				state, found = s, true
			}
		}
		if !found || !state.Ended.IsZero() {
			return app.Retried{Passed: state.Passed, Refused: state.Refused}, errorOf(state.Trouble)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return app.Retried{}, fmt.Errorf("the retry goes on in process %d: %w", at.PID, ctx.Err())
		}
		states = nil
		err = holder{dir: dir}.ask(ctx, http.MethodGet, web.RetriesPath, nil, &states)
	}
	return app.Retried{}, err
}

func errorOf(t *web.TroubleLine) error {
	if t == nil {
		return nil
	}
	return &fault.Error{Code: t.Code, Place: t.Place, Err: errors.New(t.Reason), Remedy: t.Remedy}
}
