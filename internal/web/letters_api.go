package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
)

// RetriesPath answers programs: POST sends dead letters of a pipeline again, GET tells what becomes of that.
const RetriesPath = "/v1/deadletters/retries"

// RetryOrder is the body of the POST.
type RetryOrder struct {
	Pipeline string  `json:"pipeline"`
	IDs      []int64 `json:"ids,omitempty"` // none: all of the pipeline
}

// RetryState is how far the last retry of a pipeline is.
type RetryState struct {
	Pipeline string       `json:"pipeline"`
	Chosen   int64        `json:"chosen"`
	Passed   int64        `json:"passed"`
	Refused  int64        `json:"refused"`
	Began    time.Time    `json:"began"`
	Ended    time.Time    `json:"ended,omitzero"`
	Trouble  *TroubleLine `json:"trouble,omitempty"` // why it ended early
}

// TroubleLine is an error as programs read it.
type TroubleLine struct {
	Code   string `json:"code,omitempty"` // stable
	Place  string `json:"place,omitempty"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"`
}

func troubleOf(err error) *TroubleLine {
	if err == nil {
		return nil
	}
	out := &TroubleLine{Code: fault.Code(err), Reason: err.Error()}
	for e, ok := errors.AsType[*fault.Error](err); ok; e, ok = errors.AsType[*fault.Error](e.Err) {
		if e.Code != "" && e.Err != nil {
			out.Place, out.Reason, out.Remedy = e.Place, e.Err.Error(), e.Remedy
			break
		}
	}
	return out
}

// startRetry begins a retry, and answers with the state that it has a moment later. A browser's page may not ask for it
// from elsewhere: it has to be JSON, and of the same origin.
func (p *Pages) startRetry(w http.ResponseWriter, r *http.Request) {
	var order RetryOrder
	err := p.origins.Check(r)
	switch {
	case err != nil:
		err = &fault.Error{Code: "ACQ-DLQ-006", Err: err}
	case r.Header.Get("Content-Type") != "application/json":
		err = &fault.Error{Code: "ACQ-DLQ-006", Err: errors.New("the body is to be application/json")}
	default:
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLetter))
		d.DisallowUnknownFields()
		if err = d.Decode(&order); err != nil || order.Pipeline == "" {
			err = &fault.Error{Code: "ACQ-DLQ-007", Err: errors.Join(errors.New("the body names a pipeline, and maybe ids"), err)}
		}
	}
	if err == nil {
		err = p.cfg.Letters.Retry(r.Context(), checkpoint.LetterFilter{Pipeline: order.Pipeline, IDs: order.IDs})
	}
	if err != nil {
		p.writeJSON(w, r, p.letterStatus(r, err), troubleOf(err))
		return
	}
	p.listRetries(w, r)
}

// listRetries answers with the last retry of each pipeline.
func (p *Pages) listRetries(w http.ResponseWriter, r *http.Request) {
	found, err := p.cfg.Letters.Find(r.Context(), checkpoint.LetterFilter{IDs: []int64{0}}, 0, 0)
	if err != nil {
		p.writeJSON(w, r, p.letterStatus(r, err), troubleOf(err))
		return
	}
	out := make([]RetryState, len(found.Retries))
	for i, one := range found.Retries {
		out[i] = RetryState{
			Pipeline: one.Pipeline, Chosen: one.Chosen, Passed: one.Passed, Refused: one.Refused, Began: one.Began.UTC(), Trouble: troubleOf(one.Err),
		}
		if !one.Ended.IsZero() {
			out[i].Ended = one.Ended.UTC()
		}
	}
	p.writeJSON(w, r, http.StatusOK, out)
}
