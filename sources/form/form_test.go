package form_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/acequia-io/acequia/sources/form"
)

func TestJSONIsRegistered(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	got := w.json(t, zelda)
	id := strings.TrimSuffix(strings.TrimPrefix(got.body, `{"id":"`), "\"}\n")
	if parsed, err := uuid.Parse(id); err != nil || parsed.Version() != 7 || got.status != http.StatusCreated {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if got.header.Get("Location") != path+"/"+id || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers: %v", got.header)
	}
	item, found, err := w.items.Get(t.Context(), "videogames", id)
	if want := `{"id":"` + id + `",` + zelda[1:]; err != nil || !found || string(item.Doc) != want {
		t.Errorf("stored %s, %v\nwant   %s", item.Doc, err, want)
	}
	if page := w.do(t, http.MethodGet, path+"/"+id, "", "Accept", "application/json"); page.body != string(item.Doc) {
		t.Errorf("read back %d %s", page.status, page.body)
	}
	if again := w.json(t, zelda); again.body == got.body || again.status != http.StatusCreated {
		t.Errorf("an equal game without a key is another game: %d %s", again.status, again.body)
	}
}

func TestPageRegisters(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	got := w.html(t, url.Values{
		"title": {" Zelda & Ñandú %+ "}, "developer": {"N/A"}, "genre": {"Role-Playing"}, "year": {"1998"}, "competitive": {"true"},
		"_homepage": {""}, "_key": {uuid.NewString()},
	}.Encode())
	location := got.header.Get("Location")
	if got.status != http.StatusSeeOther || !strings.HasPrefix(location, path+"/") {
		t.Fatalf("got %d %v\n%s", got.status, got.header, got.body)
	}
	page := w.do(t, http.MethodGet, location, "", "Accept", "text/html", "Accept-Language", "es-PE,es;q=0.9")
	for _, want := range []string{"Zelda &amp; Ñandú %+<", "N/A", "Rol<", "1998", "Sí", `href="/query?sql=`, `lang="es"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page of the game lacks %s:\n%s", want, page.body)
		}
	}
}
