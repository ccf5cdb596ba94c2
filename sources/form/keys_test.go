package form_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/form"
)

func TestSameKeySameAnswer(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	first := w.json(t, zelda, "Idempotency-Key", "k")
	for name, body := range map[string]string{
		"the same":     zelda,
		"other order":  `{"competitive":false,"year":1986,"genre":"Adventure","developer":"Nintendo","title":"Zelda"}`,
		"other spaces": "\n{ " + strings.ReplaceAll(zelda[1:], `"Zelda"`, ` " Zel\u0064a "`),
	} {
		again := w.json(t, body, "Idempotency-Key", "k")
		if again.status != first.status || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("%s: %d %s", name, again.status, again.body)
		}
	}
	other := w.json(t, strings.Replace(zelda, "1986", "1987", 1), "Idempotency-Key", "k")
	if other.status != http.StatusConflict || other.problem(t).Code != "ACQ-FORM-008" {
		t.Errorf("another body: %d %s", other.status, other.body)
	}
	if bad := w.json(t, game("year", "1"), "Idempotency-Key", "k"); bad.status != http.StatusUnprocessableEntity {
		t.Errorf("a bad body: %d", bad.status)
	}
	if n, keys := w.count(t, "videogames"), w.count(t, form.KeysTable); n != 1 || keys != 1 {
		t.Errorf("there are %d games and %d keys", n, keys)
	}
	if w.json(t, zelda, "Idempotency-Key", "K").body == first.body {
		t.Error("keys differ by case")
	}
}

// The answer is remembered by the store, not by the process.
func TestKeyOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	first := w.json(t, zelda, "Idempotency-Key", "k")
	table := form.Config{Schema: "videogames"}
	again, err := form.New(table, w.items, discard())
	if err != nil {
		t.Fatal(err)
	}
	w.handler = again
	if got := w.json(t, zelda, "Idempotency-Key", "k"); got.body != first.body || got.status != http.StatusCreated {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// Another process may answer the same request while this one writes it, or have died with its write on the way: who was first counts, for both.
func TestAnotherProcessWasFirst(t *testing.T) {
	t.Parallel()
	for body, status := range map[string]int{zelda: http.StatusCreated, strings.Replace(zelda, "1986", "1987", 1): http.StatusConflict} {
		w := open(t, form.Config{})
		first := &world{items: w.items}
		var err error
		if first.form, err = form.New(form.Config{Schema: "videogames"}, w.items, discard()); err != nil {
			t.Fatal(err)
		}
		first.handler = first.form
		first.run(t)
		var other answer
		w.refuse = func(record.Chunk) error {
			if other.status == 0 {
				other = first.json(t, body, "Idempotency-Key", "k")
			}
			return nil
		}
		w.run(t)
		got, again := w.json(t, zelda, "Idempotency-Key", "k"), w.json(t, zelda, "Idempotency-Key", "k")
		for _, got := range []answer{got, again} {
			if got.status != status || status == http.StatusCreated && got.body != other.body {
				t.Errorf("got %d %s, the first was told %d %s", got.status, got.body, other.status, other.body)
			}
		}
		if games, keys := w.count(t, "videogames"), w.count(t, form.KeysTable); games != 1 || keys != 1 {
			t.Errorf("there are %d games and %d keys", games, keys)
		}
	}
}

func TestPageKey(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	values := url.Values{
		"title": {"a"}, "developer": {"b"}, "genre": {"Misc"}, "year": {"2000"}, "competitive": {"false"}, "_key": {uuid.NewString()},
	}
	first, again := w.html(t, values.Encode()), w.html(t, values.Encode())
	if first.status != http.StatusSeeOther || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("sent twice: %v, %v", first.header, again.header)
	}
	values.Set("title", "other")
	conflict := w.html(t, values.Encode())
	if conflict.status != http.StatusConflict || !strings.Contains(conflict.body, `value="other"`) || strings.Contains(conflict.body, values.Get("_key")) {
		t.Errorf("another game from the same page must come back filled in, with a new key: %d %s", conflict.status, conflict.body)
	}
	values.Set("_key", "a b")
	if bad := w.html(t, values.Encode()); bad.status != http.StatusBadRequest || !strings.Contains(bad.body, `value="other"`) {
		t.Errorf("bad key: %d", bad.status)
	}
	values.Del("_key")
	if none := w.html(t, values.Encode()); none.status != http.StatusSeeOther {
		t.Errorf("no key: %d", none.status)
	}
	if n := w.count(t, "videogames"); n != 2 {
		t.Errorf("there are %d games", n)
	}
}

// Copies of a request that arrive together are one game, whatever the number of chunks that they could have been in.
func TestManyCopiesAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	const rounds, copies = 20, 64
	for range rounds {
		key := uuid.NewString()
		before := w.count(t, "videogames")
		ids := make([]string, copies)
		var clients sync.WaitGroup
		for i := range copies {
			clients.Go(func() {
				body := zelda
				if i%8 == 7 {
					body = strings.Replace(zelda, "1986", "1987", 1)
				}
				got := w.json(t, body, "Idempotency-Key", key, "RemoteAddr", "127.0.0.1:1")
				var answer struct{ ID string }
				switch err := json.Unmarshal([]byte(got.body), &answer); {
				case got.status == http.StatusCreated && err == nil:
					ids[i] = answer.ID + body[len(body)-30:]
				case got.status != http.StatusConflict:
					t.Errorf("%d %s", got.status, got.body)
				}
			})
		}
		clients.Wait()
		won := map[string]int{}
		for _, id := range ids {
			won[id]++
		}
		delete(won, "")
		if len(won) != 1 || w.count(t, "videogames") != before+1 {
			t.Fatalf("%v; %d games more", won, w.count(t, "videogames")-before)
		}
	}
}

// What the sinks refuse is told, and can be sent again under the same key.
func TestNotDurableIs503(t *testing.T) {
	t.Parallel()
	w := open(t, form.Config{Patience: 25 * soon})
	var full atomic.Bool
	full.Store(true)
	w.refuse = func(record.Chunk) error {
		if full.Load() {
			return errors.New("no space left on device")
		}
		return nil
	}
	got := w.json(t, zelda, "Idempotency-Key", "k") // nobody reads yet
	p := got.problem(t)
	if p.Code != "ACQ-FORM-007" || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || strings.Contains(got.body, "reader") {
		t.Errorf("without a reader: %d %v %s", got.status, got.header, got.body)
	}
	w.run(t)
	if got := w.json(t, zelda, "Idempotency-Key", "k"); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "device") {
		t.Errorf("with a full disk: %d %s", got.status, got.body)
	}
	page := w.html(t, url.Values{
		"title": {"Kept"}, "developer": {"b"}, "genre": {"Puzzle"}, "year": {"2000"}, "competitive": {"true"}, "_key": {"k-page"},
	}.Encode())
	for _, want := range []string{`value="Kept"`, `<option value="Puzzle" selected>`, `value="true" checked`, `name="_key" value="k-page"`, "It cannot be saved right now"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if n := w.count(t, "videogames") + w.count(t, form.KeysTable); n != 0 {
		t.Errorf("%d items of what was refused", n)
	}
	full.Store(false)
	if got := w.json(t, zelda, "Idempotency-Key", "k"); got.status != http.StatusCreated {
		t.Errorf("with space: %d %s", got.status, got.body)
	}
	if n := w.count(t, "videogames"); n != 1 {
		t.Errorf("there are %d games", n)
	}
}

// A reader that closes refuses what it has read; what it has not read waits for the next.
func TestReadersComeAndGo(t *testing.T) {
	t.Parallel()
	w := open(t, form.Config{Patience: time.Minute})
	lanes, err := w.form.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	post := func() <-chan answer {
		got := make(chan answer, 1)
		go func() { got <- w.json(t, zelda) }()
		return got
	}
	reader, err := w.form.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	first := post()
	chunk, err := reader.Read(t.Context())
	if err != nil || len(chunk.Batches) != 1 || chunk.Batches[0].Rows != 1 {
		t.Fatalf("read %+v, %v", chunk, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-first; got.status != http.StatusServiceUnavailable {
		t.Errorf("what was read and not settled: %d", got.status)
	}
	if _, err := reader.Read(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a closed reader gives %v", err)
	}
	second := post()
	w.run(t)
	if got := <-second; got.status != http.StatusCreated {
		t.Errorf("what waited for a reader: %d", got.status)
	}
}

// A client that goes away does not take its game with it once it is on its way.
func TestClientThatGoesAway(t *testing.T) {
	t.Parallel()
	w := open(t, form.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(zelda))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "k")
	gone := make(chan struct{})
	go func() {
		w.handler.ServeHTTP(httptest.NewRecorder(), r)
		close(gone)
	}()
	for {
		if lag, err := w.form.Lag(t.Context()); err != nil || lag.Records == 1 {
			break
		}
	}
	cancel()
	<-gone
	w.run(t)
	if got := w.json(t, zelda, "Idempotency-Key", "k"); got.status != http.StatusCreated || w.count(t, "videogames") != 1 {
		t.Errorf("sent again: %d %s, %d games", got.status, got.body, w.count(t, "videogames"))
	}
}

// More than may wait is refused at once.
func TestFullQueueIs503(t *testing.T) {
	t.Parallel()
	w := open(t, form.Config{Patience: time.Minute})
	const room = 10_000
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range room {
		clients.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(zelda))
			r.Header.Set("Content-Type", "application/json")
			r.RemoteAddr = "127.0.0.1:1"
			w.form.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for {
		lag, err := w.form.Lag(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if lag.Records == room {
			break
		}
	}
	if got := w.json(t, zelda, "RemoteAddr", "127.0.0.1:1"); got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d", got.status)
	}
	cancel()
	clients.Wait()
}
