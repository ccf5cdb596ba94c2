package form

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/a-h/templ"
	"github.com/google/uuid"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// formState is what a form page shows beside the declaration.
type formState struct {
	key      string
	why      *refusal // nil: a fresh page
	problems []schemas.Problem
	inputs   []schemas.Input
}

// formView is a form page.
type formView struct {
	page.Page

	Heading string
	Action  string
	Key     string
	Why     string
	Detail  string
	Errors  []errorView
	Fields  []fieldView
}

// errorView is a line of the summary; without Href it is about no field of the page.
type errorView struct{ Href, Text string }

// fieldView is a field of the page.
type fieldView struct {
	schemas.Field

	ID       string
	Label    string
	Help     string
	Error    string
	Value    string
	Choices  []choiceView
	Describe string // the ids of help and error
}

type choiceView struct {
	ID, Value, Label string
	Chosen           bool
}

func (s *Source) showForm(w http.ResponseWriter, r *http.Request, status int, state formState) {
	title := s.table.Title.In(page.Language(r))
	v := &formView{Page: page.Of(r, title), Heading: title, Action: s.Path(), Key: state.key}
	if state.why != nil {
		v.Title = v.T("Error: ", "Error: ") + title
		v.Why, v.Detail = state.why.title.in(v.Lang), state.why.detail.in(v.Lang)
	}
	for i := range s.table.Fields {
		f := &s.table.Fields[i]
		if f.Generated {
			continue
		}
		v.Fields = append(v.Fields, s.field(f, i, v.Lang, state))
	}
	for _, p := range state.problems {
		e := errorView{Text: p.Name + ": " + s.table.Message(p, v.Lang)}
		if p.Field >= 0 && !s.table.Fields[p.Field].Generated {
			f := &s.table.Fields[p.Field]
			e = errorView{Text: strings.Trim(f.Label.In(v.Lang), "¿?") + ": " + s.table.Message(p, v.Lang), Href: "#" + firstID(f)}
		}
		v.Errors = append(v.Errors, e)
	}
	s.show(w, r, status, formPage(v))
}

func (s *Source) field(f *schemas.Field, i int, lang string, state formState) fieldView {
	v := fieldView{Field: *f, ID: fieldID(f), Label: f.Label.In(lang), Help: f.Help.In(lang)}
	if state.inputs != nil {
		v.Value = strings.ReplaceAll(strings.ToValidUTF8(string(state.inputs[i].Text), "\uFFFD"), "\x00", "\uFFFD")
	}
	var describe []string
	if v.Help != "" {
		describe = append(describe, v.ID+"-help")
	}
	for _, p := range state.problems {
		if p.Field == i {
			v.Error = sentence(s.table.Message(p, lang))
			describe = append(describe, v.ID+"-error")
		}
	}
	v.Describe = strings.Join(describe, " ")
	for _, o := range f.Options {
		v.Choices = append(v.Choices, choiceView{
			ID: choiceID(f, o), Value: o.Value, Label: o.Label.In(lang), Chosen: v.Value == o.Value,
		})
	}
	return v
}

func fieldID(f *schemas.Field) string { return "f-" + f.Name }

// choiceID is the id of a radio button; an id holds no space.
func choiceID(f *schemas.Field, o schemas.Option) string {
	return fieldID(f) + "-" + strings.ToLower(strings.Join(strings.Fields(o.Value), "-"))
}

// firstID is where a link to a field leads: a group of radio buttons has no box of its own to write in.
func firstID(f *schemas.Field) string {
	if f.Widget == schemas.Radio && len(f.Options) > 0 {
		return choiceID(f, f.Options[0])
	}
	return fieldID(f)
}

// sentence makes a sentence of a message.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:] + "."
}

// recordView is the page of one record.
type recordView struct {
	page.Page

	Noun  string
	Facts []factView
	Again string
	Query string
}

type factView struct{ Name, Value string }

// serveRecord shows a record, as its JSON document to who asks for that.
func (s *Source) serveRecord(w http.ResponseWriter, r *http.Request, id string) {
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		s.refuse(w, r, &refusedNotFound, "")
		return
	}
	item, found, err := s.items.Get(r.Context(), s.table.Name, id)
	switch {
	case err != nil:
		s.log.WarnContext(r.Context(), "record not read", slog.Any("error", err))
		s.refuse(w, r, &refusedNow, "")
		return
	case !found || item.Deleted:
		s.refuse(w, r, &refusedNotFound, "")
		return
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Add("Vary", "Accept")
	if wantsJSON(r) {
		w.Header()["Content-Type"] = jsonType
		if _, err := w.Write(item.Doc); err != nil {
			s.log.DebugContext(r.Context(), "answer not written", slog.Any("error", err))
		}
		return
	}
	lang := page.Language(r)
	v := &recordView{Page: page.Of(r, s.table.Noun.In(lang)), Noun: s.table.Noun.In(lang), Again: s.Path()}
	v.Facts = s.facts(item.Doc, lang)
	sql := "select * from " + s.table.Name + "_latest where " + s.table.Key[0] + " = '" + id + "'"
	v.Query = s.config.Query + "?" + url.Values{"sql": {sql}}.Encode()
	s.show(w, r, http.StatusOK, recordPage(v))
}

// facts gives the values of a document under their labels, in the order of the declaration.
func (s *Source) facts(doc []byte, lang string) []factView {
	values := make([]string, len(s.table.Fields))
	err := record.EachMember(doc, func(name []byte, kind record.JSONKind, text []byte) error {
		if i := s.table.Index(string(name)); i >= 0 && kind != record.JSONNull {
			values[i] = s.table.Fields[i].OptionLabel(string(text), lang)
		}
		return nil
	})
	if err != nil {
		s.log.Warn("record not understood", slog.Any("error", err))
	}
	facts := make([]factView, len(values))
	for i, v := range values {
		if v == "" {
			v = "—"
		}
		facts[i] = factView{s.table.Fields[i].Label.In(lang), v}
	}
	return facts
}

// refusalView is the page of a request of which no field was read.
type refusalView struct {
	page.Page

	Detail string
	Back   string
}

func (s *Source) showRefusal(w http.ResponseWriter, r *http.Request, why *refusal) {
	lang := page.Language(r)
	v := &refusalView{Page: page.Of(r, why.title.in(lang)), Detail: why.detail.in(lang), Back: s.Path()}
	s.show(w, r, why.status, refusalPage(v))
}

// show renders a page before the first byte of it goes out.
func (s *Source) show(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	var b bytes.Buffer
	if err := c.Render(context.WithoutCancel(r.Context()), &b); err != nil {
		s.log.ErrorContext(r.Context(), "page not rendered", slog.Any("error", err))
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", page.Language(r))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache")
	}
	w.WriteHeader(status)
	if _, err := w.Write(b.Bytes()); err != nil {
		s.log.DebugContext(r.Context(), "page not written", slog.Any("error", err))
	}
}

// attributes are those that depend on the field.
func (f fieldView) attributes() templ.Attributes {
	a := templ.Attributes{}
	switch f.Widget {
	case schemas.NumberInput: // no type=number: it drops what is no number, and the page could not show it again
		a["type"], a["inputmode"], a["autocomplete"], a["class"] = "text", "numeric", "off", "short"
		if f.Type == schemas.Decimal {
			a["inputmode"] = "decimal"
		}
	case schemas.DateInput:
		a["type"] = "date"
	case schemas.TextInput:
		a["type"], a["autocomplete"] = "text", "off"
	case schemas.TextArea, schemas.Select, schemas.Radio:
	}
	if f.Required {
		a["required"] = true
	}
	if f.Error != "" {
		a["aria-invalid"] = "true"
	}
	if f.Describe != "" {
		a["aria-describedby"] = f.Describe
	}
	return a
}
