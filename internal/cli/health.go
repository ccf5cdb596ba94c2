package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
)

type healthCmd struct {
	URL     string        `name:"url" help:"Where acequia serve listens." default:"http://127.0.0.1:3006" placeholder:"URL"`
	Ready   bool          `help:"Ask whether its pipelines and their servers are well too (/readyz), not only whether the process lives (/livez)."`
	Timeout time.Duration `help:"How long it may take to answer." default:"4s"`
	JSON    bool          `help:"Write JSON."`
}

// Help shows examples.
func (healthCmd) Help() string {
	return `Asks a process that serves whether it lives: the health check of containers, which have neither shell nor curl. No token is needed.

Examples:
  acequia health
  acequia health --ready --url http://127.0.0.1:8080

Exit codes: 0 it does, 2 usage, 3 it does not, or nobody answers.`
}

// answered is what --json writes.
type answered struct {
	URL    string `json:"url"`
	Status int    `json:"status"`
	OK     bool   `json:"ok"`
	Text   string `json:"text,omitempty"`
}

// Run asks.
func (c healthCmd) Run(ctx context.Context, t terminal) error {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return &fault.Error{Code: "ACQ-USE-072", Place: c.URL, Err: errors.New("this is no address of a server"), Remedy: "write one such as http://127.0.0.1:3006"}
	}
	path := "/livez"
	if c.Ready {
		path = "/readyz"
	}
	got, err := c.ask(ctx, strings.TrimSuffix(c.URL, "/")+path)
	if err != nil {
		return &fault.Error{Code: codeNobody, Place: got.URL, Err: err, Remedy: "start it: acequia serve FILE; where it listens elsewhere, say so with --url"}
	}
	if c.JSON {
		err = writeJSON(t.out, got)
	} else {
		_, err = fmt.Fprintf(t.out, "%s %d\n%s", got.URL, got.Status, got.Text)
	}
	if err == nil && !got.OK {
		return toldError{exitEnvironment}
	}
	return err
}

// maxAnswer bounds what is shown of an answer, in bytes.
const maxAnswer = 64 << 10

func (c healthCmd) ask(ctx context.Context, at string) (out answered, err error) {
	out.URL = at
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return out, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return out, err
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return out, err
	}
	out.Status, out.OK, out.Text = answer.StatusCode, answer.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
	if out.Text != "" && !c.JSON {
		out.Text += "\n"
	}
	return out, nil
}
