package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// apiProject is a database that goes to a lake and to items when a job asks for it. %s: the DSN.
const apiProject = `version: 1
sources:
  shop: { type: postgres, dsn: "%s", tables: ["public.tickets", "public.rooms"], capture: { strategy: xmin } }
sinks:
  lake: { type: lake, url: lake }
  items: { type: items, tables: { rooms: { name: cinema-rooms, indexes: [ { name: by_screen, columns: [screen_type] } ] } } }
pipelines:
  shop: { from: shop, to: [lake, items], follow: false }
`

const (
	apiRate    = 200 // requests a second
	apiTime    = 20 * time.Second
	apiClients = 32
	ticketRows = 2_000_000
)

// apiPaths are asked for in turns. %s: a job.
func apiPaths(job string) []string {
	return []string{
		"/dynamodb/cinema-rooms/items?limit=100", "/dynamodb/cinema-rooms/items?key=7", "/dynamodb/cinema-rooms/items?index=by_screen&key=IMAX&limit=20",
		"/v1/jobs?limit=20", "/v1/jobs/" + job, "/v1/status", "/v1/schedules", "/backups", "/livez", "/health",
	}
}

// BenchmarkAPI asks the API 200 times a second, while nothing happens and while a migration of two million rows to lake and items goes on in
// the same process. Each answer is timed from the moment at which its request was due.
func BenchmarkAPI(b *testing.B) {
	path, s := program(b), startPostgres(b)
	s.ask(b, "drop table if exists tickets, rooms; create table tickets (id int primary key, room int, note text, at timestamptz); create table rooms (id int primary key, name text, screen_type text)")
	s.ask(b, fmt.Sprintf("insert into tickets select i, i %% 10, 'note number ' || i, now() from generate_series(1, %d) i", ticketRows))
	s.ask(b, "insert into rooms select i, 'Sala ' || i, (array['2D','3D','IMAX'])[1 + i % 3] from generate_series(1, 200) i")
	s.ask(b, "vacuum analyze tickets")
	order, samples := []string{"nothing else", "a migration"}, map[string][]sample{}
	for range rounds() {
		if err := apiRound(b.Context(), path, b.TempDir(), s.dsn(), samples); err != nil {
			b.Fatal(err)
		}
	}
	ms := func(key string) figure {
		return named(key+" ms", key, func(v float64) string { return fmt.Sprintf("%.1f", v) })
	}
	table(b, fmt.Sprintf("API: %d requests a second for %s, beside", apiRate, apiTime), order, samples, ms("p50"), ms("p99"), ms("worst"),
		named("MB read by the newest job", "read", oneDigit), peakMemory())
	paths := make([]figure, len(apiPaths("{id}")))
	for i, path := range apiPaths("{id}") {
		paths[i] = named(path, strconv.Itoa(i), func(v float64) string { return fmt.Sprintf("%.1f", v) })
	}
	table(b, "API: p99 ms by path", order, samples, paths...)
	ratio(b, "p99 beside a migration to p99", samples["a migration"], samples["nothing else"], ms("p99"))
}

// apiRound serves a new state, and measures it at rest and at work.
func apiRound(ctx context.Context, program, dir, dsn string, samples map[string][]sample) (err error) {
	if err := os.WriteFile(filepath.Join(dir, "acequia.yaml"), fmt.Appendf(nil, apiProject, dsn), 0o600); err != nil {
		return err
	}
	a, err := startAPI(ctx, program, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	first, err := a.order(ctx, "/migrate", `{"tables":["public.rooms"]}`, 50)
	if err != nil {
		return err
	}
	measure := func(name string) error {
		got, err := a.paced(ctx, apiPaths(first.ID))
		if err == nil {
			got.Peak, err = peak(a.cmd.Process.Pid)
		}
		if err == nil {
			got.Figures["read"], err = a.read(ctx)
		}
		samples[name] = append(samples[name], got)
		return err
	}
	if _, err := a.paced(ctx, apiPaths(first.ID)[:3]); err != nil { // warm
		return err
	}
	if err := measure("nothing else"); err != nil {
		return err
	}
	job, err := a.order(ctx, "/migrate", "", 1)
	if err != nil {
		return err
	}
	if err := measure("a migration"); err != nil {
		return err
	}
	if job, err = a.job(ctx, job.ID); err == nil && job.State != "running" {
		err = fmt.Errorf("the migration was %s before the measurement ended: give it more rows", job.State)
	}
	return err
}

// apiServer is acequia serve.
type apiServer struct {
	cmd  *exec.Cmd
	url  string
	rest sync.WaitGroup
	log  bytes.Buffer
	http http.Client
}

type apiJob struct {
	ID, State string
	Report    struct{ Tables []struct{ Bytes int64 } }
}

func startAPI(ctx context.Context, program, dir string) (*apiServer, error) {
	a := &apiServer{cmd: exec.CommandContext(ctx, program, "serve", "--json", "--port", "0", filepath.Join(dir, "acequia.yaml"))} //nolint:gosec // our own program
	a.http.Transport = &http.Transport{MaxIdleConnsPerHost: apiClients}
	a.cmd.Dir, a.cmd.Stderr = dir, &a.log
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	var at struct{ URL string }
	if err = errors.Join(err, json.Unmarshal(line, &at)); err != nil {
		return nil, errors.Join(err, a.stop(), errors.New(a.log.String()))
	}
	a.url = at.URL
	a.rest.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	return a, nil
}

func (a *apiServer) stop() error {
	a.http.CloseIdleConnections()
	err := a.cmd.Process.Signal(os.Interrupt)
	a.rest.Wait()
	return errors.Join(err, a.cmd.Wait())
}

// ask reads the answer to one request; its error is also of a status that is none of success.
func (a *apiServer) ask(ctx context.Context, method, path, body string, wait int, to any) error {
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if wait > 0 {
		request.Header.Set("Prefer", fmt.Sprintf("wait=%d", wait))
	}
	answer, err := a.http.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(text, to)
}

func (a *apiServer) order(ctx context.Context, path, body string, wait int) (job apiJob, err error) {
	err = a.ask(ctx, http.MethodPost, path, body, wait, &job)
	return job, err
}

func (a *apiServer) job(ctx context.Context, id string) (job apiJob, err error) {
	err = a.ask(ctx, http.MethodGet, "/v1/jobs/"+id, "", 0, &job)
	return job, err
}

// read gives what the newest job has read, in MB.
func (a *apiServer) read(ctx context.Context) (mb float64, err error) {
	var list struct{ Jobs []apiJob }
	if err := a.ask(ctx, http.MethodGet, "/v1/jobs?limit=1", "", 0, &list); err != nil {
		return 0, err
	}
	for _, t := range list.Jobs[0].Report.Tables {
		mb += float64(t.Bytes) / 1e6
	}
	return mb, nil
}

// paced asks for the paths in turns, at the rate, whatever the answers take.
func (a *apiServer) paced(ctx context.Context, paths []string) (sample, error) {
	total := apiRate * int(apiTime/time.Second)
	took, errs := make([]time.Duration, total), make([]error, apiClients)
	began := time.Now()
	var asking sync.WaitGroup
	for c := range apiClients {
		asking.Go(func() {
			for n := c; n < total && errs[c] == nil; n += apiClients {
				due := began.Add(time.Duration(n) * time.Second / apiRate)
				wait(ctx, time.Until(due))
				errs[c] = a.ask(ctx, http.MethodGet, paths[n%len(paths)], "", 0, nil)
				took[n] = time.Since(due)
			}
		})
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		return sample{}, err
	}
	out := sample{Rows: int64(total), Wall: time.Since(began), Figures: map[string]float64{}}
	for i := range paths {
		var of []time.Duration
		for n := i; n < total; n += len(paths) {
			of = append(of, took[n])
		}
		out.Figures[strconv.Itoa(i)] = milliseconds(of, 0.99)
	}
	out.Figures["p50"], out.Figures["p99"], out.Figures["worst"] = milliseconds(took, 0.50), milliseconds(took, 0.99), milliseconds(took, 1)
	return out, nil
}

// milliseconds gives the time below which a share of the times is.
func milliseconds(took []time.Duration, share float64) float64 {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(share*float64(len(sorted)-1))].Seconds() * 1000
}
