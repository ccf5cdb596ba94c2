package form_test

import (
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources/form"
)

var update = flag.Bool("update", false, "write the golden files")

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// golden compares what is inside the frame with a file, a line an element.
func golden(t *testing.T, name, body string) {
	t.Helper()
	_, body, _ = strings.Cut(body, "<main")
	body, _, _ = strings.Cut(body, "</main>")
	body = strings.ReplaceAll(uuids.ReplaceAllString(body, "UUID"), "><", ">\n<") + "\n"
	file := filepath.Join("testdata", name+".golden.html")
	if *update {
		if err := os.WriteFile(file, []byte("<main"+body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), "<main"+body); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	bad := url.Values{
		"title": {`<script>alert("x")</script>` + "\x00\xff"}, "developer": {strings.Repeat("N/A ", 51)}, "genre": {"Sports"}, "year": {"N/A"},
		"_key": {"0191d3c4-0000-7000-8000-000000000000"}, "<colour>": {"red"},
	}.Encode()
	for _, lang := range []string{"es", "en"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			fresh := w.do(t, http.MethodGet, "/", "", "Accept-Language", lang)
			golden(t, "form-"+lang, fresh.body)
			if again := w.do(t, http.MethodGet, path, "", "Accept-Language", lang); again.body == fresh.body {
				t.Error("two pages have the same key")
			}
			wrong := w.html(t, bad, "Accept-Language", lang)
			golden(t, "errors-"+lang, wrong.body)
			if wrong.status != http.StatusUnprocessableEntity || !strings.Contains(wrong.body, "<title>Error: ") || strings.Contains(wrong.body, "<script") {
				t.Errorf("%d %s", wrong.status, wrong.body)
			}
			good := w.html(t, url.Values{
				"title": {"Tetris"}, "developer": {"N/A"}, "genre": {"Puzzle"}, "year": {" 1984 "}, "competitive": {"true"},
			}.Encode())
			golden(t, "registered-"+lang, w.do(t, http.MethodGet, good.header.Get("Location"), "", "Accept-Language", lang).body)
			trapped := w.html(t, "title=a&_homepage=http%3A%2F%2Fspam", "Accept-Language", lang)
			golden(t, "trapped-"+lang, trapped.body)
			golden(t, "missing-"+lang, w.do(t, http.MethodGet, "/forms/nothing", "", "Accept-Language", lang).body)
		})
	}
}

func TestHeadersOfPages(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	got := w.do(t, http.MethodGet, path, "", "Accept-Language", "es")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Language": "es", "Cache-Control": "private, no-cache",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %s", name, got.header.Get(name))
		}
	}
	for from, to := range map[string]string{"/forms": path, "/forms/": path, path + "/": path} {
		if got := w.do(t, http.MethodGet, from, ""); got.status != http.StatusSeeOther || got.header.Get("Location") != to {
			t.Errorf("%s: %d %v", from, got.status, got.header)
		}
	}
	if got := w.do(t, http.MethodHead, path, ""); got.status != http.StatusOK {
		t.Errorf("HEAD: %d", got.status)
	}
}

// Another declaration is another form, with nothing written by hand.
func TestAnotherDeclaration(t *testing.T) {
	t.Parallel()
	const declaration = "../../schemas/testdata/screenings.yaml"
	text, err := os.ReadFile(declaration)
	if err != nil {
		t.Fatal(err)
	}
	table, err := schemas.Load(declaration, text)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, form.Config{Table: table})
	golden(t, "screenings-es", w.do(t, http.MethodGet, "/forms/screenings", "", "Accept-Language", "es").body)
	values := url.Values{
		"room": {"A1"}, "day": {"2026-12-24"}, "price": {"12,5"}, "seats": {""}, "notes": {"two\nlines"}, "language": {"vo"}, "members": {"false"},
	}
	good := w.do(t, http.MethodPost, "/forms/screenings", values.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	doc := w.do(t, http.MethodGet, good.header.Get("Location"), "", "Accept", "application/json").body
	want := `{"id":"UUID","room":"A1","day":"2026-12-24","price":"12.50","seats":null,"notes":"two\nlines","language":"vo","members":false}`
	if got := uuids.ReplaceAllString(doc, "UUID"); got != want {
		t.Errorf("stored %s\nwant   %s", got, want)
	}
	golden(t, "screening-es", w.do(t, http.MethodGet, good.header.Get("Location"), "", "Accept-Language", "es").body)
	same := w.do(t, http.MethodPost, "/forms/screenings", `{"room":"A1","day":"2026-12-24","price":12.50}`, "Content-Type", "application/json")
	if same.status != http.StatusCreated {
		t.Errorf("%d %s", same.status, same.body)
	}
	bad := w.do(t, http.MethodPost, "/forms/screenings", `{"room":"A123","day":"24/12/2026","price":"1.234","seats":0,"language":"x"}`, "Content-Type", "application/json")
	if got := bad.problem(t).fields(); got != "room too_long, day not_a_date, price too_precise, seats too_small, language not_an_option" {
		t.Error(got)
	}
}
