package form_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas/videogames"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/form"
)

// world is a form over an item store, with what a router does between them.
type world struct {
	form    *form.Source
	items   *itemstore.Store
	handler http.Handler

	// refuse, when it is set, is asked before a chunk is written: its error settles the chunk instead.
	refuse func(record.Chunk) error
}

// open makes a world in which nobody reads yet.
func open(tb testing.TB, c form.Config) *world {
	tb.Helper()
	if c.Table == nil {
		table, err := videogames.Table()
		if err != nil {
			tb.Fatal(err)
		}
		c.Table = table
	}
	w := &world{}
	var err error
	if w.items, err = itemstore.Open(tb.Context(), filepath.Join(tb.TempDir(), "items.db"), itemstore.Options{}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := w.items.Close(); err != nil {
			tb.Error(err)
		}
	})
	for _, t := range []itemstore.Table{{Name: c.Table.Name}, {Name: form.KeysTable, NoChanges: true}} {
		if err := w.items.Define(tb.Context(), t); err != nil {
			tb.Fatal(err)
		}
	}
	if w.form, err = form.New(c, w.items, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatal(err)
	}
	w.handler = page.Frame(w.form)
	return w
}

// start makes a world in which a router runs until the test ends.
func start(tb testing.TB, c form.Config) *world {
	tb.Helper()
	w := open(tb, c)
	w.run(tb)
	return w
}

// run plays the router: what is read is written in one transaction, then settled, until the test ends or stop is called.
func (w *world) run(tb testing.TB) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	lanes, err := w.form.Lanes(ctx)
	if err != nil || len(lanes) != 1 {
		tb.Fatal(lanes, err)
	}
	reader, err := w.form.Open(ctx, lanes[0], "")
	if err != nil {
		tb.Fatal(err)
	}
	var router sync.WaitGroup
	router.Go(func() {
		for {
			chunk, err := reader.Read(ctx)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					tb.Error(err)
				}
				return
			}
			if w.refuse != nil {
				err = w.refuse(chunk)
			}
			if err == nil {
				err = w.write(chunk)
			}
			if err := reader.Settle(context.WithoutCancel(ctx), chunk.To, err); err != nil {
				tb.Error(err)
			}
			chunk.Release()
		}
	})
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			router.Wait()
			if err := reader.Close(); err != nil {
				tb.Error(err)
			}
		})
	}
	tb.Cleanup(stop)
	return stop
}

// write writes a chunk as the items sink does.
func (w *world) write(c record.Chunk) error {
	var puts []itemstore.Put
	together := map[string]uint32{}
	for _, b := range c.Batches {
		for row := range b.Rows {
			event, answer := string(b.System.EventIDs.Text(row)), b.Schema.Stream == form.KeysTable
			if answer {
				together[event] = uint32(len(together)) + 1
			}
			puts = append(puts, itemstore.Put{
				Together: together[event], IfAbsent: answer,
				Table: b.Schema.Stream, Key: string(b.Columns[b.Schema.Key[0]].Text(row)), Version: b.System.Versions.At(row),
				Op: b.System.Op(row), Doc: b.AppendJSON(nil, row),
			})
		}
	}
	_, err := w.items.Write(context.Background(), puts)
	return err
}

// count gives the number of items of a table.
func (w *world) count(tb testing.TB, table string) int64 {
	tb.Helper()
	n, err := w.items.Count(tb.Context(), table)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request to the handler, as a remote client.
func (w *world) do(tb testing.TB, method, path, body string, headers ...string) answer {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "RemoteAddr" {
			r.RemoteAddr = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	res := rec.Result()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		tb.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

const path = "/forms/videogames"

const zelda = `{"title":"Zelda","developer":"Nintendo","genre":"Adventure","year":1986,"competitive":false}`

func (w *world) json(tb testing.TB, body string, headers ...string) answer {
	tb.Helper()
	return w.do(tb, http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (w *world) html(tb testing.TB, body string, headers ...string) answer {
	tb.Helper()
	return w.do(tb, http.MethodPost, path, body, append([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html,*/*;q=0.8",
	}, headers...)...)
}

const soon = 200 * time.Millisecond

var _ sources.Source = (*form.Source)(nil)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
