package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/web"
)

// tokenEnv holds the token that is sent to a running process. Who asks it on this machine needs none.
const tokenEnv = "ACEQUIA_TOKEN" //nolint:gosec // the name of a variable

// codeNobody is the code of errNobody.
const codeNobody = "ACQ-ENV-004"

// errNobody is of a state that no process with a web server holds.
func errNobody(dir string) error {
	return &fault.Error{
		Code: codeNobody, Place: dir, Err: errors.New("no acequia process answers for this directory"), Remedy: "start it: acequia serve FILE, or acequia demo --dir DIR",
	}
}

// holder is the process that holds a state.
type holder struct {
	dir  string // of the state
	lang string // of its problems, "es" or "en"; "": English
}

// ask sends it body as JSON, unless that is nil, and reads its answer into out.
func (h holder) ask(ctx context.Context, method, path string, body, out any) error {
	at, err := app.ReadAddress(h.dir)
	if err != nil {
		return errNobody(h.dir)
	}
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, at.URL+path, sent)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if h.lang != "" {
		request.Header.Set("Accept-Language", h.lang)
	}
	if token := os.Getenv(tokenEnv); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return errNobody(h.dir)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("ask %s: %w", at.URL, err)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return json.Unmarshal(text, out)
	}
	var wrong struct { // a problem of the API, or the trouble of a page
		web.TroubleLine
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(text, &wrong); err != nil || wrong.Detail+wrong.Reason == "" {
		return fmt.Errorf("ask %s: it answers %s", at.URL, answer.Status)
	}
	return &fault.Error{Code: wrong.Code, Place: wrong.Place, Err: errors.New(cmp.Or(wrong.Detail, wrong.Reason)), Remedy: wrong.Remedy}
}
