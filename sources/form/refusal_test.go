package form_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/sources/form"
)

// problem is problem+json as a client sees it.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Errors                    []struct{ Field, Pointer, Code, Detail string }
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d of type %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != a.status || p.Title == "" || p.Detail == "" || p.Type != "urn:acequia:problem:"+p.Code {
		t.Errorf("the problem is %+v", p)
	}
	return p
}

func (p problem) fields() string {
	var out []string
	for _, e := range p.Errors {
		out = append(out, e.Field+" "+e.Code)
	}
	return strings.Join(out, ", ")
}

// game is JSON of a good game with some members replaced; "" takes one out.
func game(replace ...string) string {
	members := [][2]string{{"title", `"a"`}, {"developer", `"b"`}, {"genre", `"Misc"`}, {"year", "2000"}, {"competitive", "true"}}
	var parts []string
	for _, m := range members {
		for i := 0; i < len(replace); i += 2 {
			if replace[i] == m[0] {
				m[1] = replace[i+1]
			}
		}
		if m[1] != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", m[0], m[1]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestBadJSONIsRefusedWithEveryField(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	for name, c := range map[string]struct {
		body   string
		status int
		fields string
	}{
		"nothing there":     {"{}", 422, "title required, developer required, genre required, year required, competitive required"},
		"wrong types":       {`{"title":1,"developer":true,"genre":[],"year":"1998","competitive":"yes"}`, 422, "title wrong_type, developer wrong_type, genre wrong_type, year wrong_type, competitive wrong_type"},
		"nulls and objects": {`{"title":null,"developer":{"a":1},"genre":null,"year":null,"competitive":0}`, 422, "title required, developer wrong_type, genre required, year required, competitive wrong_type"},
		"year N/A":          {game("year", `"N/A"`), 422, "year wrong_type"},
		"early and late":    {game("year", "1949"), 422, "year too_small"},
		"far too late":      {game("year", "99999999999999999999999"), 422, "year too_large"},
		"a fraction":        {game("year", "1998.5"), 422, "year not_a_number"},
		"an exponent":       {game("year", "2e3"), 422, "year not_a_number"},
		"long title":        {game("title", `"`+strings.Repeat("x", 10_000)+`"`), 422, "title too_long"},
		"201 characters":    {game("developer", `"`+strings.Repeat("ñ", 201)+`"`), 422, "developer too_long"},
		"white space":       {game("title", `" \t\u00a0 "`), 422, "title required"},
		"escaped NUL":       {game("title", `"a\u0000b"`), 422, "title bad_text"},
		"other genre":       {game("genre", `"action"`), 422, "genre not_an_option"},
		"own id":            {`{"id":"x",` + game()[1:], 422, "id unknown_field"},
		"unknown names":     {`{"colour":"red","a/b~":1,` + game("title", "")[1:], 422, "title required, colour unknown_field, a/b~ unknown_field"},
		"the page's fields": {`{"_key":"k","_homepage":"",` + game()[1:], 422, "_key unknown_field, _homepage unknown_field"},
		"no JSON":           {"title=a", 400, ""},
		"empty":             {"", 400, ""},
		"an array":          {"[" + game() + "]", 400, ""},
		"a string":          {`"a"`, 400, ""},
		"null":              {"null", 400, ""},
		"half":              {game()[:40], 400, ""},
		"one brace short":   {strings.TrimSuffix(game(), "}"), 400, ""},
		"two objects":       {game() + game(), 400, ""},
		"trailing comma":    {strings.TrimSuffix(game(), "}") + ",}", 400, ""},
		"a name twice":      {`{"title":"x",` + game()[1:], 400, ""},
		"twice by escape":   {`{"titl\u0065":"x",` + game()[1:], 400, ""},
		"deep arrays":       {game("title", strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)), 400, ""},
		"deep objects":      {strings.Repeat(`{"title":`, 5_000), 400, ""},
		"raw NUL":           {game("title", "\"a\x00b\""), 400, ""},
		"not UTF-8":         {game("title", "\"a\xffb\""), 400, ""},
		"half a surrogate":  {game("title", `"a\ud800b"`), 400, ""},
		"leading zero":      {game("year", "02000"), 400, ""},
		"NaN":               {game("year", "NaN"), 400, ""},
		"a comment":         {"{/**/" + game()[1:], 400, ""},
		"a byte order mark": {"\ufeff" + game(), 400, ""},
		"200 strangers":     {`{"a":1` + strings.Repeat(`,"b":1`, 200) + "}", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := w.json(t, c.body).problem(t)
			if p.Status != c.status || p.fields() != c.fields {
				t.Errorf("got %d %q: %s\nwant %d %q", p.Status, p.fields(), p.Detail, c.status, c.fields)
			}
		})
	}
	t.Cleanup(func() {
		if n, err := w.items.Count(t.Context(), "videogames"); err == nil && n > 0 {
			t.Errorf("%d bad games were registered", n)
		}
	})
}

func TestProblemsSpeakBothLanguages(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	body := `{"a/b~":1,` + game("year", "1900")[1:]
	en, es := w.json(t, body), w.json(t, body, "Accept-Language", "es")
	for lang, p := range map[string]problem{"en": en.problem(t), "es": es.problem(t)} {
		want := map[string][2]string{
			"en": {"write a number of at least 1950", "this field cannot be sent"}, "es": {"escribe un número no menor que 1950", "este campo no se puede enviar"},
		}[lang]
		if p.Errors[0].Detail != want[0] || p.Errors[1].Detail != want[1] || p.Errors[0].Pointer != "#/year" || p.Errors[1].Pointer != "#/a~1b~0" {
			t.Errorf("%s: %+v", lang, p)
		}
	}
	if en.header.Get("Content-Language") != "en" || es.header.Get("Content-Language") != "es" {
		t.Error("Content-Language is wrong")
	}
}

func TestRequestsThatAreNotForTheForm(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	const accept, asJSON = "Accept", "application/json"
	big := game("title", `"`+strings.Repeat("x", 64<<10)+`"`)
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code               string
		header             [2]string
	}{
		"no type":            {"POST", path, zelda, []string{accept, asJSON}, 415, "ACQ-FORM-004", [2]string{"Accept-Post", "application/json, application/x-www-form-urlencoded"}},
		"a file":             {"POST", path, zelda, []string{accept, asJSON, "Content-Type", "multipart/form-data; boundary=x"}, 415, "ACQ-FORM-004", [2]string{}},
		"text":               {"POST", path, zelda, []string{accept, asJSON, "Content-Type", "text/plain"}, 415, "ACQ-FORM-004", [2]string{}},
		"Latin-1":            {"POST", path, zelda, []string{"Content-Type", "application/json; charset=iso-8859-1"}, 415, "ACQ-FORM-004", [2]string{}},
		"compressed":         {"POST", path, zelda, []string{accept, asJSON, "Content-Type", asJSON, "Content-Encoding", "gzip"}, 415, "ACQ-FORM-004", [2]string{}},
		"too big":            {"POST", path, big, []string{"Content-Type", asJSON}, 413, "ACQ-FORM-003", [2]string{}},
		"DELETE":             {"DELETE", path, "", []string{accept, asJSON}, 405, "ACQ-FORM-005", [2]string{"Allow", "GET, HEAD, POST"}},
		"PUT of a game":      {"PUT", path + "/x", zelda, []string{accept, asJSON}, 405, "ACQ-FORM-005", [2]string{"Allow", "GET, HEAD"}},
		"POST to /forms/":    {"POST", "/forms/", zelda, []string{accept, asJSON}, 405, "ACQ-FORM-005", [2]string{"Allow", "GET, HEAD"}},
		"no such form":       {"GET", "/forms/books", "", []string{accept, asJSON}, 404, "ACQ-FORM-011", [2]string{}},
		"no such game":       {"GET", path + "/01a20b75-8a7b-728d-9497-251fbc9d4fba", "", []string{accept, asJSON}, 404, "ACQ-FORM-011", [2]string{}},
		"no game":            {"GET", path + "/'; drop table item", "", []string{accept, asJSON}, 404, "ACQ-FORM-011", [2]string{}},
		"a game in capitals": {"GET", path + "/01A20B75-8A7B-728D-9497-251FBC9D4FBA", "", []string{accept, asJSON}, 404, "ACQ-FORM-011", [2]string{}},
		"empty key":          {"POST", path, zelda, []string{"Content-Type", asJSON, "Idempotency-Key", ""}, 400, "ACQ-FORM-009", [2]string{}},
		"quoted nothing":     {"POST", path, zelda, []string{"Content-Type", asJSON, "Idempotency-Key", `""`}, 400, "ACQ-FORM-009", [2]string{}},
		"spaced key":         {"POST", path, zelda, []string{"Content-Type", asJSON, "Idempotency-Key", "a b"}, 400, "ACQ-FORM-009", [2]string{}},
		"foreign key":        {"POST", path, zelda, []string{"Content-Type", asJSON, "Idempotency-Key", "ñ"}, 400, "ACQ-FORM-009", [2]string{}},
		"long key":           {"POST", path, zelda, []string{"Content-Type", asJSON, "Idempotency-Key", strings.Repeat("k", 256)}, 400, "ACQ-FORM-009", [2]string{}},
		"two keys":           {"POST", path, zelda, []string{"Content-Type", asJSON, "Idempotency-Key", "a", "Idempotency-Key", "b"}, 400, "ACQ-FORM-009", [2]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := strings.ReplaceAll(c.path, " ", "%20")
			a := w.do(t, c.method, p, c.body, c.headers...)
			if got := a.problem(t); got.Status != c.status || got.Code != c.code || a.header.Get(c.header[0]) != c.header[1] {
				t.Errorf("got %d %s %v", got.Status, got.Code, a.header)
			}
			html := w.do(t, c.method, p, c.body, append(c.headers, accept, "text/html")...)
			if html.status != c.status {
				t.Errorf("as a page: %d %s", html.status, html.body)
			}
		})
	}
}

func TestCharsetAndQuotedKeyAreFine(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	for _, contentType := range []string{"application/json;charset=UTF-8", "Application/JSON"} {
		if got := w.do(t, http.MethodPost, path, zelda, "Content-Type", contentType); got.status != http.StatusCreated {
			t.Errorf("%s: %d %s", contentType, got.status, got.body)
		}
	}
	bare, quoted := w.json(t, zelda, "Idempotency-Key", "k-1"), w.json(t, zelda, "Idempotency-Key", `"k-1"`)
	if bare.status != http.StatusCreated || bare.body != quoted.body {
		t.Errorf("bare %s, quoted %s", bare.body, quoted.body)
	}
}

func TestCrossOriginPostsAreRefused(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{TrustedOrigins: []string{"https://friend.example"}})
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, 303}, // no browser
		{[]string{"Sec-Fetch-Site", "same-origin"}, 303},
		{[]string{"Sec-Fetch-Site", "none"}, 303},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Origin", "https://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Origin", "http://example.com"}, 303}, // the host of httptest's requests
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://friend.example"}, 303},
	} {
		body := url.Values{"title": {"a"}, "developer": {"b"}, "genre": {"Misc"}, "year": {"2000"}, "competitive": {"false"}}.Encode()
		if got := w.html(t, body, c.headers...); got.status != c.status {
			t.Errorf("%v: %d", c.headers, got.status)
		}
	}
	if got := w.json(t, zelda, "Sec-Fetch-Site", "cross-site"); got.problem(t).Code != "ACQ-FORM-010" {
		t.Error(got.body)
	}
}

func TestRateIsLimitedByClient(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{Rate: 3, TrustedProxies: []string{"10.0.0.0/8", "127.0.0.1", "::1"}})
	// sent sends n games and gives the statuses.
	sent := func(n int, headers ...string) (out []int) {
		for range n {
			a := w.json(t, zelda, headers...)
			if out = append(out, a.status); a.status == http.StatusTooManyRequests {
				if a.problem(t).Code != "ACQ-FORM-006" || a.header.Get("Retry-After") == "" {
					t.Errorf("refused with %v %s", a.header, a.body)
				}
			}
		}
		return out
	}
	limited, free := []int{201, 201, 201, 429, 429}, []int{201, 201, 201, 201, 201}
	for _, c := range []struct {
		name    string
		headers []string
		want    []int
	}{
		{"an address", []string{"RemoteAddr", "192.0.2.1:1"}, limited},
		{"another", []string{"RemoteAddr", "192.0.2.2:1"}, limited},
		{"loopback", []string{"RemoteAddr", "127.0.0.1:1"}, free},
		{"loopback, IPv6", []string{"RemoteAddr", "[::1]:1"}, free},
		{"whoever says it is forwarded", []string{"RemoteAddr", "192.0.2.3:1", "X-Forwarded-For", "127.0.0.1"}, limited},
		{"behind a proxy", []string{"RemoteAddr", "10.1.2.3:1", "X-Forwarded-For", "192.0.2.4"}, limited},
		{"the same behind a local proxy", []string{"RemoteAddr", "127.0.0.1:1", "X-Forwarded-For", "192.0.2.4"}, []int{429, 429, 429, 429, 429}},
		{"behind two proxies, with a lie before", []string{"RemoteAddr", "10.1.2.3:1", "X-Forwarded-For", "127.0.0.1, 192.0.2.5", "X-Forwarded-For", "10.9.9.9"}, limited},
		{"nonsense from a proxy", []string{"RemoteAddr", "10.1.2.4:1", "X-Forwarded-For", "unknown"}, limited},
		{"mapped", []string{"RemoteAddr", "[::ffff:192.0.2.6]:1"}, limited},
		{"the same not mapped", []string{"RemoteAddr", "192.0.2.6:1"}, []int{429, 429, 429, 429, 429}},
		{"an IPv6 network", []string{"RemoteAddr", "[2001:db8::1]:1"}, limited},
		{"the same network", []string{"RemoteAddr", "[2001:db8::ffff:2]:1"}, []int{429, 429, 429, 429, 429}},
	} {
		if diff := cmp.Diff(c.want, sent(5, c.headers...)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
	page := w.html(t, "title=Kept+title", "RemoteAddr", "192.0.2.1:1")
	if page.status != http.StatusTooManyRequests || !strings.Contains(page.body, `value="Kept title"`) || page.header.Get("Retry-After") == "" {
		t.Errorf("the page is %d %s", page.status, page.body)
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	w := open(t, form.Config{})
	for name, c := range map[string]form.Config{
		"no schema":  {},
		"no file":    {Schema: "testdata/nothing.yaml"},
		"bad schema": {Schema: "form_test.go"},
		"bad proxy":  {Schema: "videogames", TrustedProxies: []string{"10.0.0.0/99"}},
		"bad origin": {Schema: "videogames", TrustedOrigins: []string{"friend.example/path"}},
	} {
		if _, err := form.New(c, w.items, discard()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
