package cli

import (
	"bytes"
	"context"
	"encoding/json"
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
			Code: "ACQ-ENV-004", Place: dir, Err: errors.New("no acequia process with a web server runs on this directory"),
			Remedy: "name the configuration with -f; if it runs without a web server, stop it first",
		}
	}
	began := time.Now()
	body, err := json.Marshal(web.RetryOrder{Pipeline: c.Pipeline, IDs: c.IDs})
	if err != nil {
		return app.Retried{}, err
	}
	states, err := askRetries(ctx, at.URL, http.MethodPost, body)
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
		states, err = askRetries(ctx, at.URL, http.MethodGet, nil)
	}
	return app.Retried{}, err
}

func errorOf(t *web.TroubleLine) error {
	if t == nil {
		return nil
	}
	return &fault.Error{Code: t.Code, Place: t.Place, Err: errors.New(t.Reason), Remedy: t.Remedy}
}

func askRetries(ctx context.Context, url, method string, body []byte) (states []web.RetryState, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url+web.RetriesPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: 30 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return nil, &fault.Error{
			Code: "ACQ-ENV-004", Place: url, Err: fmt.Errorf("the process that holds the state does not answer: %w", err), Remedy: "start it again, or stop it and retry then",
		}
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode == http.StatusOK {
		return states, json.NewDecoder(answer.Body).Decode(&states)
	}
	var trouble web.TroubleLine
	if err := json.NewDecoder(answer.Body).Decode(&trouble); err != nil || trouble.Reason == "" {
		return nil, fmt.Errorf("ask %s: it answers %s", url, answer.Status)
	}
	return nil, errorOf(&trouble)
}
