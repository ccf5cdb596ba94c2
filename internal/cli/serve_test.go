package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/web"
)

// served is the register as a user declares it, in a folder that holds its state too.
type served struct {
	*register
	file string
	told string // file of what the program writes
}

func newServed(t *testing.T, more string) *served {
	t.Helper()
	r := newRegister(t)
	if err := app.WriteTemplate("form", filepath.Join(r.dir, "videogames.yaml")); err != nil {
		t.Fatal(err)
	}
	s := &served{register: r, file: filepath.Join(r.dir, "videogames.yaml"), told: filepath.Join(r.dir, "told")}
	s.edit(t, "version: 1\n", "version: 1\nstate: .\n")
	if more != "" {
		s.edit(t, "pipelines:\n", "pipelines:\n"+more)
	}
	return s
}

// edit replaces a text of the file, all at once as editors do.
func (s *served) edit(t *testing.T, old, text string) {
	t.Helper()
	before, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	after := bytes.Replace(before, []byte(old), []byte(text), 1)
	if bytes.Equal(before, after) {
		t.Fatalf("%s has no %q", s.file, old)
	}
	if err := errors.Join(os.WriteFile(s.file+"~", after, 0o600), os.Rename(s.file+"~", s.file)); err != nil {
		t.Fatal(err)
	}
}

// start runs acequia serve and waits until it answers.
func (s *served) start(t *testing.T, args ...string) *child {
	t.Helper()
	url := s.url()
	port := url[strings.LastIndex(url, ":")+1:]
	c := s.launch(t, append([]string{"serve", s.file, "--port", port}, args...)...)
	c.url = url
	if err := await(s.ctx, func() bool { return c.over() || c.get("/readyz", nil) == nil }); err != nil || c.over() {
		t.Fatalf("it does not answer: %v\n%s", err, s.output(t))
	}
	return c
}

// launch starts the program, which writes into a file that can be read meanwhile.
func (s *served) launch(t *testing.T, args ...string) *child {
	t.Helper()
	c, err := command(s.ctx, order{Dir: s.dir}, args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(s.told)
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = out, out
	err = c.Start()
	if err = errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.died)
		_ = c.Wait() // end looks at what it left
	}()
	return c
}

func (s *served) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.told)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// await waits until the program has written a text so often.
func (s *served) await(t *testing.T, text string, times int) {
	t.Helper()
	if err := await(s.ctx, func() bool { return strings.Count(s.output(t), text) >= times }); err != nil {
		t.Fatalf("%q was not written %d times: %v\n%s", text, times, err, s.output(t))
	}
}

// TestServe registers a game in the register that a file declares, and finds its row with SQL.
func TestServe(t *testing.T) {
	t.Parallel()
	s := newServed(t, "")
	c := s.start(t, "--json")
	s.insist("one")
	if err := s.catchUp(c); err != nil {
		t.Fatal(err)
	}
	code, out, err := once(t.Context(), order{}, "query", "-f", s.file, "-o", "csv", "select title, genre, decade from videogames_latest where title = 'one'")
	if !strings.Contains(out, noSQL) && (err != nil || code != exitOK || !strings.Contains(out, "one,Puzzle,1950")) {
		t.Errorf("query: %d, %v\n%s", code, err, out)
	}
	if code, out, err := once(t.Context(), order{}, "status", "--dir", s.dir); err != nil || code != exitOK || strings.Count(out, "running") != 2 {
		t.Errorf("status: %d, %v\n%s", code, err, out)
	}
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := s.compare(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSpace(s.output(t)), "\n")
	if len(lines) != 3 {
		t.Fatalf("want a line where it serves, and one a pipeline:\n%s", s.output(t))
	}
	for i, want := range []struct{ event, pipeline string }{{"serving", ""}, {"end", itemsPipeline}, {"end", lakePipeline}} {
		var got struct {
			Event, Pipeline, URL string
			Forms                []string
		}
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil || got.Event != want.event || got.Pipeline != want.pipeline {
			t.Errorf("line %d: %s, %v", i, lines[i], err)
		}
		if i == 0 && (len(got.Forms) != 1 || got.Forms[0] != got.URL+"/forms/videogames") {
			t.Errorf("forms: %v", got.Forms)
		}
	}
}

// arrive makes a file of lines, all at once.
func arrive(t *testing.T, dir string, n int) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("id,n\n")
	for i := range partLines {
		fmt.Fprintf(&b, "%d,%d\n", n*partLines+i, i)
	}
	name := filepath.Join(dir, fmt.Sprintf("part-%d.csv", n))
	if err := errors.Join(os.WriteFile(name+"~", b.Bytes(), 0o600), os.Rename(name+"~", name)); err != nil {
		t.Fatal(err)
	}
}

const (
	partLines  = 20_000
	partSource = "  lines: { type: file, path: 'part-*.csv', stream: lines, key: [id], schema: { id: int64, n: int32 } }\n"
)

// linesOnce wants each line of the files in the lake, once.
func linesOnce(t *testing.T, dir string, files int) {
	t.Helper()
	seen := map[int64]int{}
	err := filepath.WalkDir(filepath.Join(dir, "lake", "lines"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		type line struct {
			ID int64 `parquet:"id"`
		}
		rows, err := parquet.ReadFile[line](path)
		for _, l := range rows {
			seen[l.ID]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lost, doubled := files*partLines-len(seen), 0
	for _, n := range seen {
		if n > 1 {
			doubled++
		}
	}
	if lost != 0 || doubled != 0 {
		t.Errorf("of %d lines %d are lost and %d doubled", files*partLines, lost, doubled)
	}
}

// TestServeWatches changes the file again and again while clients register games and files of lines arrive. Everything is
// in the lake once, and no client is refused: requests wait while the pipelines are changed.
func TestServeWatches(t *testing.T) {
	t.Parallel()
	s := newServed(t, "  lines: { from: lines, to: [lake] }\n")
	s.edit(t, "sources:\n", "sources:\n"+partSource)
	arrive(t, s.dir, 0)
	c := s.start(t, "--watch", "--json")
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	var clients sync.WaitGroup
	for n := range 3 {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("client-%d-%d", n, i)
				id, _, err := s.post(key)
				if err != nil {
					select {
					case refused <- err:
					default:
					}
				}
				s.mu.Lock()
				s.register.told[key] = id
				s.mu.Unlock()
			}
		})
	}
	const edits = 4
	every := "roll: { every: 1s }"
	for i := range edits {
		arrive(t, s.dir, i+1)
		s.edit(t, every, fmt.Sprintf("roll: { every: %dms }", 200+i))
		every = fmt.Sprintf("roll: { every: %dms }", 200+i)
		s.await(t, `"event":"reloaded"`, i+1)
	}
	s.edit(t, "every: ", "evry: ")
	s.await(t, `"event":"refused"`, 1)
	s.edit(t, "evry: ", "every: ")
	s.await(t, `"event":"reloaded"`, edits+1)
	cancel()
	clients.Wait()
	select {
	case err := <-refused:
		t.Errorf("a client was refused: %v", err)
	default:
	}
	if err := await(t.Context(), func() bool { return c.pipeline("lines").State == web.Ended }); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.catchUp(c), c.end(syscall.SIGTERM), s.compare()); err != nil {
		t.Error(err)
	}
	linesOnce(t, s.dir, edits+1)
	if out := s.output(t); strings.Contains(out, `"ERROR"`) || strings.Contains(out, `"WARN"`) {
		t.Errorf("it did not stop cleanly:\n%s", out)
	}
	t.Logf("%d games", s.toldCount())
}

// TestRunWatches changes the file of a run whose pipelines have ended already: each change reads what is new.
func TestRunWatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &served{register: &register{ctx: t.Context(), dir: dir}, file: filepath.Join(dir, "lines.yaml"), told: filepath.Join(dir, "told")}
	project := "version: 1\nsources:\n" + partSource + "sinks:\n  lake: { type: lake, url: lake }\npipelines:\n  lines: { from: lines, to: [lake] }\n"
	if err := os.WriteFile(s.file, []byte(project), 0o600); err != nil {
		t.Fatal(err)
	}
	arrive(t, dir, 0)
	c := s.launch(t, "run", s.file, "--watch")
	if err := await(t.Context(), func() bool { _, err := os.Stat(filepath.Join(dir, "lake", "_tables", "lines.json")); return err == nil }); err != nil {
		t.Fatal(err)
	}
	for i, change := range []struct{ old, text, told string }{
		{"url: lake", "url: lake, roll: { rows: 5000 }", "the change is taken up: lines"},
		{"rows: 5000", "rowz: 5000", "did you mean rows?"},
		{"rowz: 5000", "rows: 7000", "the change is taken up: lines"},
		{"url: lake,", "url: lake, partition: [n],", "ACQ-LAKE-013"},
		{"partition: [n],", "", "the change is taken up: lines"},
	} {
		arrive(t, dir, i+1)
		before := strings.Count(s.output(t), change.told)
		s.edit(t, change.old, change.text)
		s.await(t, change.told, before+1)
	}
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if code, out, err := once(t.Context(), order{Dir: dir}, "run", s.file); err != nil || code != exitOK { // what the stop left
		t.Errorf("the next run: %d, %v\n%s", code, err, out)
	}
	linesOnce(t, dir, 6)
}
