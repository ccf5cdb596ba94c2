package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/internal/web"
)

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type statusCmd struct {
	files
	stateFlags
	Watch bool          `help:"Show it again and again until interrupted."`
	Every time.Duration `help:"How often --watch asks." default:"1s"`
	JSON  bool          `help:"Write JSON; with --watch one line each time."`
}

// Help shows examples.
func (statusCmd) Help() string {
	return `Asks the process that serves the pipelines of a file, or a demo. Where none answers, it shows where the lanes of the file's pipelines
stood at their last checkpoint, also while acequia run goes on, and asks their sources how their streams are read and what they keep.

Examples:
  acequia status shop.yaml
  acequia status -f shop.yaml --watch
  acequia status --dir D

Where the process wants a token it is that of ACEQUIA_TOKEN.

Exit codes: 0 ok, 2 usage or configuration, 3 nobody answers and there is no state.`
}

// Run asks the process that holds the state.
func (c statusCmd) Run(ctx context.Context, t terminal) error {
	dir, project, err := c.subject(ctx, t, c.Paths...)
	if err != nil {
		return err
	}
	for {
		var report web.Report
		err := holder{dir: dir}.ask(ctx, http.MethodGet, "/v1/status", nil, &report)
		if fault.Code(err) == codeNobody && project != nil {
			report = web.Report{Time: time.Now().UTC()}
			report.Pipelines, err = project.Standing(ctx, obs.NewLogger(t.err, slog.LevelError))
		}
		if err != nil {
			return err
		}
		if err := c.show(t.out, report); err != nil || !c.Watch {
			return err
		}
		select {
		case <-time.After(c.Every):
		case <-ctx.Done():
			return nil
		}
	}
}

func (c statusCmd) show(out io.Writer, report web.Report) error {
	if c.JSON && c.Watch {
		return json.NewEncoder(out).Encode(report)
	}
	if c.JSON {
		return writeJSON(out, report)
	}
	live := c.Watch && obs.Terminal(out)
	if live {
		_, _ = fmt.Fprint(out, "\x1b[H\x1b[2J") // the screen shows the newest alone
	}
	w := tabwriter.NewWriter(out, 0, 2, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "PIPELINE\tSTATE\tLAG\tROWS\tROWS/S\tDEAD LETTERS\tLAST FILE")
	for _, p := range report.Pipelines {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.0f\t%d\t%s\n", p.Name, p.State, lagOf(p.LagRows, p.Lag), p.Rows, p.RowsPerSecond, p.DeadLetters, middleOut(p.LastFile, 48))
		if p.Unrouted > 0 {
			_, _ = fmt.Fprintf(w, "  %d records were for no sink of the route\n", p.Unrouted)
		}
		if text := cmp.Or(p.Reason, by(p.Holder)); text != "" {
			_, _ = fmt.Fprintf(w, "  %s\n", text)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range report.Pipelines {
		if err := showParts(out, p); err != nil {
			return err
		}
	}
	if !live {
		return nil
	}
	_, err := fmt.Fprintf(out, "\n%s, every %s. Ctrl-C stops watching.\n", time.Now().Format(time.TimeOnly), c.Every)
	return err
}

// middleOut shortens a name to n characters: what tells two apart is at its ends.
func middleOut(s string, n int) string {
	letters := []rune(s)
	if len(letters) <= n {
		return s
	}
	return string(letters[:n/2-1]) + "…" + string(letters[len(letters)-(n-n/2):])
}

type versionCmd struct {
	JSON bool `help:"Write JSON."`
}

// Help shows examples.
func (versionCmd) Help() string {
	return `Examples:
  acequia version
  acequia version --json

Exit codes: 0 ok, 3 the output cannot be written.`
}

// Run prints.
func (c versionCmd) Run(t terminal) error {
	v := version()
	if c.JSON {
		return writeJSON(t.out, map[string]string{"version": v})
	}
	_, err := fmt.Fprintln(t.out, "acequia "+v)
	return err
}

// release is what the linker was told; a build without it knows its module's version.
var release string //nolint:gochecknoglobals // set by -ldflags -X

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
