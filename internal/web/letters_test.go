//go:build cgo

package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// keeper keeps letters in a state file, and notes what it is asked to send.
type keeper struct {
	*checkpoint.Store
	sent []checkpoint.LetterFilter
	runs []Retry
}

// Find asks the file.
func (k *keeper) Find(ctx context.Context, f checkpoint.LetterFilter, before int64, limit int) (found Found, err error) {
	if found.Letters, err = k.FindDeadLetters(ctx, f, before, limit); err != nil {
		return found, err
	}
	found.Retries = k.runs
	found.Reasons, err = k.CountReasons(ctx, f)
	return found, err
}

// Edit changes the file.
func (k *keeper) Edit(ctx context.Context, id int64, row []byte) error {
	_, err := k.EditDeadLetter(ctx, id, row)
	return err
}

// Retry notes.
func (k *keeper) Retry(_ context.Context, f checkpoint.LetterFilter) error {
	k.sent = append(k.sent, f)
	return nil
}

// Drop changes the file.
func (k *keeper) Drop(ctx context.Context, f checkpoint.LetterFilter) (int64, error) {
	return k.DropDeadLetters(ctx, f)
}

// newKeeper has 120 letters of a step, one of a sink that would be markup, and one of no text.
func newKeeper(t *testing.T) *keeper {
	t.Helper()
	store, err := checkpoint.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	lane := checkpoint.Lane{Pipeline: "games", ID: "a"}
	state, err := store.Acquire(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	in := checkpoint.Intent{Group: 1, To: "p"}
	for i := range 120 {
		in.DeadLetters = append(in.DeadLetters, checkpoint.DeadLetter{
			Stream: "games", Position: "p", Index: int64(i), Step: "cast", Column: "year", Code: "ACQ-T-1", Reason: "ACQ-T-1: no year",
			Row: fmt.Appendf(nil, `{"id":%d,"year":"N/A","gone":null}`, i), At: at,
		})
	}
	in.DeadLetters = append(in.DeadLetters, checkpoint.DeadLetter{
		Stream: "games", Position: "<b>", Step: "lake", Column: "<i>c</i>", Reason: "<script>alert(1)</script>", EventID: `"><img src=x>`,
		Row: []byte(`{"<b>":"</textarea><script>alert(2)</script>"}`), At: at,
	}, checkpoint.DeadLetter{Stream: "other", Position: "\xff", Step: "read", Reason: "odd", Raw: []byte("\x00\xff</pre>"), At: at})
	if err := store.SaveCheckpoint(t.Context(), lane, state.Epoch, in); err != nil {
		t.Fatal(err)
	}
	return &keeper{Store: store}
}

// letterSite is a site with letters.
func letterSite(t *testing.T) (*site, *keeper) {
	t.Helper()
	k := newKeeper(t)
	s := newSite(t, nil, func(c *Config) { c.Letters, c.CountLetters = k, k.SomeDeadLetters })
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, k
}

func TestLettersAreListed(t *testing.T) {
	t.Parallel()
	s, k := letterSite(t)
	for path, want := range map[string][]string{
		"/deadletters":                         {"122 letters", "Retry all 122", "Older", "before=73"},
		"/deadletters?before=73":               {"122 letters", "Newest", "before=23"},
		"/deadletters?step=cast":               {"120 letters", "Clear the filter", `value="cast" selected`},
		"/deadletters?step=lake":               {"1 letter<", "&lt;script&gt;alert(1)"},
		"/deadletters?text=ALERT(2)":           {"1 letter<"},
		"/deadletters?text=nothing":            {"No letter fits"},
		"/deadletters?code=ACQ-T-1&stream=x":   {"No letter fits", `value="x" selected`},
		"/deadletters?pipeline=games&text=odd": {"1 letter<", `\x00\xff&lt;/pre&gt;`},
		"/deadletters/122":                     {"hexadecimal", "00 ff 3c 2f 70 72 65 3e", "No record could be made"},
		"/deadletters/121":                     {"&lt;/textarea&gt;", "&lt;b&gt; · row 0"},
		"/deadletters/7":                       {"no year", "ACQ-T-1", "p · row 6", "2026-11-28 10:00:00"},
	} {
		answer, text := s.get(t, path, "en")
		for _, w := range want {
			if answer.StatusCode != http.StatusOK || !strings.Contains(text, w) {
				t.Errorf("%s: %d, want %q in it", path, answer.StatusCode, w)
			}
		}
		if strings.Contains(text, "<script>alert") || strings.Contains(text, "<img") || strings.Contains(text, "<i>c") {
			t.Errorf("%s: data became markup", path)
		}
	}
	if _, text := s.get(t, "/deadletters", "es"); !strings.Contains(text, "Reenviar las 122") {
		t.Error("no Spanish")
	}
	if answer, text := s.get(t, "/deadletters/999", "en"); answer.StatusCode != http.StatusNotFound || !strings.Contains(text, "it may have passed") {
		t.Error(answer.StatusCode, text)
	}
	k.runs = []Retry{{Pipeline: "games", Chosen: 3, Began: time.Now()}}
	if _, text := s.get(t, "/deadletters", "en"); !strings.Contains(text, "sending 3 letters…") || !strings.Contains(text, "data-running") || !strings.Contains(text, `http-equiv="refresh"`) {
		t.Error("a retry under way is not shown")
	}
}

func TestLettersAreChosen(t *testing.T) {
	t.Parallel()
	s, k := letterSite(t)
	for path, want := range map[string][]string{
		"/deadletters/confirm?do=drop&id=3&id=5":            {"Drop 2 letters?", `name="id" value="3"`, `name="id" value="5"`, `action="/deadletters/drop"`},
		"/deadletters/confirm?do=drop-all&step=cast":        {"Drop 120 letters?", `name="step" value="cast"`, `name="upto" value="120"`},
		"/deadletters/confirm?do=retry-all&id=3":            {"Retry 122 letters?", `name="upto" value="122"`, `action="/deadletters/retry"`},
		"/deadletters/confirm?do=retry&id=3&text=no%20year": {"Retry 1 letter?", `name="text" value="no year"`},
	} {
		answer, text := s.get(t, path, "en")
		for _, w := range want {
			if answer.StatusCode != http.StatusOK || !strings.Contains(text, w) {
				t.Errorf("%s: %d, want %q in it", path, answer.StatusCode, w)
			}
		}
	}
	for _, path := range []string{"?do=drop", "?do=drop&id=x", "?do=eat&id=3", "", "?do=drop&id=9999"} {
		if answer, text := s.get(t, "/deadletters/confirm"+path, "en"); answer.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, "autofocus") {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
	post := func(path string, form url.Values, status int, location string) {
		t.Helper()
		if answer, _ := s.do(t, http.MethodPost, path, "en", form); answer.StatusCode != status || answer.Header.Get("Location") != location {
			t.Errorf("%s %v: %d to %q", path, form, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
	post("/deadletters/drop", nil, http.StatusUnprocessableEntity, "") // nothing is chosen, so nothing is dropped
	post("/deadletters/drop", url.Values{"step": {"cast"}}, http.StatusUnprocessableEntity, "")
	post("/deadletters/drop", url.Values{"id": {"3", "5"}}, http.StatusSeeOther, "/deadletters?dropped=2")
	post("/deadletters/drop", url.Values{"step": {"cast"}, "upto": {"100"}}, http.StatusSeeOther, "/deadletters?dropped=98&step=cast")
	post("/deadletters/retry", url.Values{"id": {"110"}}, http.StatusSeeOther, "/deadletters")
	post("/deadletters/retry", url.Values{"text": {"no year"}, "upto": {"119"}}, http.StatusSeeOther, "/deadletters?text=no+year")
	if n, err := k.CountDeadLetters(t.Context(), ""); n != 22 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff([]checkpoint.LetterFilter{{IDs: []int64{110}}, {Text: "no year", UpTo: 119}}, k.sent); diff != "" {
		t.Error(diff)
	}
}

func TestLetterIsMended(t *testing.T) {
	t.Parallel()
	s, k := letterSite(t)
	for record, want := range map[string][]string{
		`{"id":1,"year":2004,"new":[1, 2]}`:    {`class="changed"`, "2004", `class="removed"`, `class="added"`, "[1,2]", "Save changes"},
		`{"year":"N/A", "gone":null, "id": 1}`: {"Nothing changes."},
	} {
		answer, text := s.do(t, http.MethodPost, "/deadletters/2/preview", "en", url.Values{"record": {record}})
		for _, w := range want {
			if answer.StatusCode != http.StatusOK || !strings.Contains(text, w) {
				t.Errorf("%s: %d, want %q in %s", record, answer.StatusCode, w, text)
			}
		}
	}
	for _, record := range []string{"", "{", "[1]", `"x"`, `{"a":1,"a":2}`, `{"a":1} x`, `{"a":}`} {
		for _, do := range []string{"preview", "edit"} {
			answer, text := s.do(t, http.MethodPost, "/deadletters/2/"+do, "en", url.Values{"record": {record}})
			if answer.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, "ACQ-DLQ-008") || !strings.Contains(text, `aria-invalid="true"`) {
				t.Errorf("%s %q: %d", do, record, answer.StatusCode)
			}
		}
	}
	answer, _ := s.do(t, http.MethodPost, "/deadletters/2/edit", "en", url.Values{"record": {"{\"id\": 1,\r\n \"year\": 2004}"}})
	d, _, err := k.DeadLetter(t.Context(), 2)
	if answer.Header.Get("Location") != "/deadletters/2?saved=1" || err != nil || string(d.Row) != `{"id":1,"year":2004}` || string(d.Raw) != `{"id":1,"year":"N/A","gone":null}` {
		t.Errorf("%v %s %s %v", answer.Header, d.Row, d.Raw, err)
	}
	if _, text := s.get(t, "/deadletters/2?saved=1", "en"); !strings.Contains(text, "Changes saved.") || !strings.Contains(text, `&#34;gone&#34;:null`) {
		t.Error(text)
	}
}

// TestForeignSiteCannotTouchLetters posts as a browser does for a page of another site.
func TestForeignSiteCannotTouchLetters(t *testing.T) {
	t.Parallel()
	s, k := letterSite(t)
	for path, form := range map[string]string{
		"/deadletters/drop": "id=1", "/deadletters/retry": "id=1", "/deadletters/1/edit": "record=%7B%7D", "/deadletters/1/preview": "record=%7B%7D",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		answer, err := s.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
	if d, found, err := k.DeadLetter(t.Context(), 1); !found || err != nil || len(k.sent) > 0 || !strings.Contains(string(d.Row), "N/A") {
		t.Error(found, err, k.sent)
	}
}

// TestRetriesForPrograms orders a retry as programs do.
func TestRetriesForPrograms(t *testing.T) {
	t.Parallel()
	s, k := letterSite(t)
	for _, c := range []struct {
		kind, site, body string
		status           int
		want             string
	}{
		{"application/json", "", `{"pipeline":"games","ids":[3]}`, http.StatusOK, `[{"pipeline":"games","chosen":3,"passed":2,"refused":1,`},
		{"application/json", "cross-site", `{"pipeline":"games"}`, http.StatusForbidden, `{"code":"ACQ-DLQ-006",`},
		{"text/plain", "", `{"pipeline":"games"}`, http.StatusForbidden, `{"code":"ACQ-DLQ-006",`},
		{"application/json", "", `{"ids":[3]}`, http.StatusUnprocessableEntity, `{"code":"ACQ-DLQ-007",`},
		{"application/json", "", `{"pipeline":"games","id":[3]}`, http.StatusUnprocessableEntity, `{"code":"ACQ-DLQ-007",`},
	} {
		k.runs = []Retry{{Pipeline: "games", Chosen: 3, Passed: 2, Refused: 1, Began: time.Now(), Ended: time.Now()}}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+RetriesPath, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", c.kind)
		request.Header.Set("Sec-Fetch-Site", c.site)
		answer, err := s.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.HasPrefix(string(text), c.want) {
			t.Errorf("%+v: %d %s", c, answer.StatusCode, text)
		}
	}
	if diff := cmp.Diff([]checkpoint.LetterFilter{{Pipeline: "games", IDs: []int64{3}}}, k.sent); diff != "" {
		t.Error(diff)
	}
}
