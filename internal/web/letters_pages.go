package web

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/page"
)

const lettersPath = "/deadletters"

func (p *Pages) mountLetters(r chi.Router) {
	r.Get(lettersPath, p.letters)
	r.Get(lettersPath+"/confirm", p.confirmLetters)
	r.Post(lettersPath+"/retry", p.changing(p.retryLetters))
	r.Post(lettersPath+"/drop", p.changing(p.dropLetters))
	r.Get(lettersPath+"/{id}", p.letter)
	r.Post(lettersPath+"/{id}/preview", p.changing(p.previewLetter))
	r.Post(lettersPath+"/{id}/edit", p.changing(p.editLetter))
	r.Get(RetriesPath, p.listRetries)
	r.Post(RetriesPath, p.startRetry)
}

// lettersPerPage bounds a page of the list.
const lettersPerPage = 50

// maxLetter bounds what an edit may send: a record of 1 MiB, with every byte percent-encoded.
const maxLetter = 3<<20 + 4096

// changing guards what changes something: a browser may ask for it only from these pages.
func (p *Pages) changing(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := p.origins.Check(r)
		if err != nil {
			err = &fault.Error{Code: "ACQ-DLQ-006", Err: err}
		} else {
			r.Body = http.MaxBytesReader(w, r.Body, maxLetter)
			err = r.ParseForm()
		}
		if err != nil {
			p.showLetters(w, r, checkpoint.LetterFilter{}, err)
			return
		}
		do(w, r)
	}
}

// filterOf reads the fields of a filter.
func filterOf(q url.Values) checkpoint.LetterFilter {
	f := checkpoint.LetterFilter{
		Pipeline: q.Get("pipeline"), Stream: q.Get("stream"), Step: q.Get("step"), Code: q.Get("code"), Text: q.Get("text"),
		UpTo: positive(q.Get("upto")),
	}
	for _, text := range q["id"] {
		if id := positive(text); id > 0 {
			f.IDs = append(f.IDs, id)
		}
	}
	return f
}

// fieldsOf is the other way round.
func fieldsOf(f checkpoint.LetterFilter) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"pipeline": f.Pipeline, "stream": f.Stream, "step": f.Step, "code": f.Code, "text": f.Text} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.UpTo > 0 {
		q.Set("upto", strconv.FormatInt(f.UpTo, 10))
	}
	for _, id := range f.IDs {
		q.Add("id", strconv.FormatInt(id, 10))
	}
	return q
}

// positive reads a positive number; 0: it is none.
func positive(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (p *Pages) letters(w http.ResponseWriter, r *http.Request) {
	f := filterOf(r.URL.Query())
	f.IDs, f.UpTo = nil, 0
	p.showLetters(w, r, f, nil)
}

// showLetters writes the list, with an error if there is one.
func (p *Pages) showLetters(w http.ResponseWriter, r *http.Request, f checkpoint.LetterFilter, err error) {
	lang, q := page.Language(r), r.URL.Query()
	before := positive(q.Get("before"))
	all, findErr := p.cfg.Letters.Find(r.Context(), checkpoint.LetterFilter{}, 0, 0)
	found := all
	if findErr == nil {
		found, findErr = p.cfg.Letters.Find(r.Context(), f, before, lettersPerPage)
	}
	err = errors.Join(err, findErr)
	v := newLettersView(lang, f, all, found, before)
	v.Dropped = v.droppedText(positive(q.Get("dropped")), q.Has("dropped"))
	status := http.StatusOK
	if err != nil {
		v.Err, status = letterFailure(lang, err), p.letterStatus(r, err)
	}
	frame := page.Of(r, v.T.Title)
	frame.Path = v.here()
	if v.Running {
		frame.Refresh = 3
	}
	p.render(w, r, status, lettersPage(frame, v))
}

// letterStatus gives the HTTP status of a failure, and logs what is nobody's mistake.
func (p *Pages) letterStatus(r *http.Request, err error) int {
	switch fault.Code(err) {
	case "ACQ-DLQ-003", "ACQ-DLQ-005":
		return http.StatusConflict
	case "ACQ-DLQ-006":
		return http.StatusForbidden
	case "ACQ-DLQ-001", "ACQ-DLQ-002", "ACQ-DLQ-004", "ACQ-DLQ-007", "ACQ-DLQ-008", "ACQ-USE-005":
		return http.StatusUnprocessableEntity
	}
	switch _, tooLarge := errors.AsType[*http.MaxBytesError](err); {
	case tooLarge:
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrNoLetter):
		return http.StatusNotFound
	}
	p.cfg.Log.ErrorContext(r.Context(), "dead letters cannot be shown", slog.Any("error", err))
	return http.StatusInternalServerError
}

// errNoneChosen asks for a choice.
var errNoneChosen = &fault.Error{Code: "ACQ-DLQ-007", Err: errors.New("no dead letter was chosen")}

// confirmLetters asks before many are sent again or dropped: it says how many, and fixes which.
func (p *Pages) confirmLetters(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	chosen, list := filterOf(q), filterOf(q)
	list.IDs, list.UpTo, chosen.UpTo = nil, 0, 0
	do, all := strings.CutSuffix(q.Get("do"), "-all")
	if all {
		chosen.IDs = nil
	}
	if do != "retry" && do != "drop" || !all && len(chosen.IDs) == 0 {
		p.showLetters(w, r, list, errNoneChosen)
		return
	}
	found, err := p.cfg.Letters.Find(r.Context(), chosen, 0, 0)
	if err == nil && found.Total() == 0 {
		err = errNoneChosen
	}
	if err != nil {
		p.showLetters(w, r, list, err)
		return
	}
	if all { // those that come later are not meant
		for _, c := range found.Reasons {
			chosen.UpTo = max(chosen.UpTo, c.Newest)
		}
	}
	v := newConfirmView(page.Language(r), do, chosen, list, found)
	p.render(w, r, http.StatusOK, confirmPage(page.Of(r, v.Title), v))
}

// chosenOf gives what a confirmed form names: letters, or all of a filter up to an ID.
func chosenOf(r *http.Request) (checkpoint.LetterFilter, error) {
	f := filterOf(r.PostForm)
	if len(f.IDs) == 0 && f.UpTo == 0 {
		return f, errNoneChosen
	}
	return f, nil
}

func (p *Pages) retryLetters(w http.ResponseWriter, r *http.Request) {
	f, err := chosenOf(r)
	if err == nil {
		err = p.cfg.Letters.Retry(r.Context(), f)
	}
	f.IDs, f.UpTo = nil, 0
	if err != nil {
		p.showLetters(w, r, f, err)
		return
	}
	seeOther(w, r, fieldsOf(f))
}

func (p *Pages) dropLetters(w http.ResponseWriter, r *http.Request) {
	f, err := chosenOf(r)
	var n int64
	if err == nil {
		n, err = p.cfg.Letters.Drop(r.Context(), f)
	}
	f.IDs, f.UpTo = nil, 0
	if err != nil {
		p.showLetters(w, r, f, err)
		return
	}
	q := fieldsOf(f)
	q.Set("dropped", strconv.FormatInt(n, 10))
	seeOther(w, r, q)
}

// seeOther leads to the list.
func seeOther(w http.ResponseWriter, r *http.Request, q url.Values) {
	to := lettersPath
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// withLetter finds the letter that the address names.
func (p *Pages) withLetter(w http.ResponseWriter, r *http.Request, do func(v *letterView) (int, error)) {
	lang := page.Language(r)
	var v *letterView
	err := ErrNoLetter
	if id := positive(chi.URLParam(r, "id")); id > 0 {
		var found Found
		found, err = p.cfg.Letters.Find(r.Context(), checkpoint.LetterFilter{IDs: []int64{id}}, 0, 1)
		if err == nil && len(found.Letters) == 0 {
			err = ErrNoLetter
		}
		if err == nil {
			v = newLetterView(lang, &found.Letters[0])
		}
	}
	if v == nil {
		p.showLetters(w, r, checkpoint.LetterFilter{}, err)
		return
	}
	status, err := do(v)
	if err != nil {
		v.Err, status = letterFailure(lang, err), p.letterStatus(r, err)
	}
	if status == http.StatusSeeOther {
		http.Redirect(w, r, v.Path+"?saved=1", status)
		return
	}
	frame := page.Of(r, v.Title)
	frame.Path = v.Path
	p.render(w, r, status, letterPage(frame, v))
}

func (p *Pages) letter(w http.ResponseWriter, r *http.Request) {
	p.withLetter(w, r, func(v *letterView) (int, error) {
		v.Saved = r.URL.Query().Has("saved")
		return http.StatusOK, nil
	})
}

// previewLetter shows what an edit would change.
func (p *Pages) previewLetter(w http.ResponseWriter, r *http.Request) {
	p.withLetter(w, r, func(v *letterView) (int, error) { return http.StatusOK, v.preview(r.PostForm.Get("record")) })
}

// editLetter saves what was shown before.
func (p *Pages) editLetter(w http.ResponseWriter, r *http.Request) {
	p.withLetter(w, r, func(v *letterView) (int, error) {
		if err := v.preview(r.PostForm.Get("record")); err != nil {
			return 0, err
		}
		if err := p.cfg.Letters.Edit(r.Context(), v.ID, v.After); err != nil {
			return 0, err
		}
		return http.StatusSeeOther, nil
	})
}
