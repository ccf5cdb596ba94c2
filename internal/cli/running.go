package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
)

// tokenEnv holds the token for a process that listens elsewhere than on this machine's own addresses.
const tokenEnv = "ACEQUIA_TOKEN" //nolint:gosec // the name of a variable

// errNobody is of a state that no process with a web server holds.
func errNobody(dir string) error {
	return &fault.Error{
		Code: "ACQ-ENV-004", Place: dir, Err: errors.New("no acequia process answers for this directory"), Remedy: "start it: acequia serve FILE",
	}
}

// askRunning asks the API of the process that holds a state, and reads its answer into out.
func askRunning(ctx context.Context, dir, method, path string, out any) error {
	at, err := app.ReadAddress(dir)
	if err != nil {
		return errNobody(dir)
	}
	request, err := http.NewRequestWithContext(ctx, method, at.URL+path, http.NoBody)
	if err != nil {
		return err
	}
	if token := os.Getenv(tokenEnv); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return errNobody(dir)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("ask %s: %w", at.URL, err)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return json.Unmarshal(text, out)
	}
	var wrong api.ProblemError
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&wrong); err != nil || wrong.Detail == "" {
		return fmt.Errorf("ask %s: it answers %s", at.URL, answer.Status)
	}
	return &fault.Error{Code: wrong.Code, Place: wrong.Place, Err: errors.New(wrong.Detail), Remedy: wrong.Remedy}
}
