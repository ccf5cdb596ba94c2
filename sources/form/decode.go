package form

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// maxBody is how long a body may be, in bytes.
const maxBody = 64 << 10

// maxUnknown is how many members that are no fields a body may have before it is not read on.
const maxUnknown = 100

// The names of fields that belong to the page and not to the table, whose names begin with a letter.
const (
	keyField  = "_key"      // the Idempotency-Key of the page
	trapField = "_homepage" // people do not see it; who fills it in is a program
)

var (
	errTwice    = errors.New("a name stands twice")
	errUnknowns = fmt.Errorf("more than %d names are unknown", maxUnknown)
	errEscape   = errors.New("a percent sign is not followed by two hexadecimal digits")
)

// sent is what a body holds. Its memory is used again.
type sent struct {
	body    []byte
	arena   []byte // texts that are not in the body as they are
	scratch []byte
	inputs  []schemas.Input
	values  []schemas.Value
	unknown []schemas.Problem
	key     string
	trapped bool
	keyed   bool // the form had the field of the key
}

var sentPool = sync.Pool{New: func() any { return new(sent) }} //nolint:gochecknoglobals // memory for bodies

func newSent(t *schemas.Table) *sent {
	s, ok := sentPool.Get().(*sent)
	if !ok {
		s = new(sent)
	}
	if n := len(t.Fields); len(s.inputs) != n {
		s.inputs, s.values = make([]schemas.Input, n), make([]schemas.Value, n)
	}
	clear(s.inputs)
	clear(s.values)
	s.body, s.arena, s.unknown, s.key, s.trapped = s.body[:0], s.arena[:0], s.unknown[:0], "", false
	s.keyed = false
	return s
}

func (s *sent) release() { sentPool.Put(s) }

// isJSON reads the content type: JSON or a urlencoded form, in UTF-8. ok is false for anything else.
func isJSON(h http.Header) (json, ok bool) {
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return false, false
	}
	switch sent := h.Get("Content-Type"); sent {
	case "application/json":
		return true, true
	case "application/x-www-form-urlencoded":
		return false, true
	default:
		kind, params, err := mime.ParseMediaType(sent)
		json = kind == "application/json"
		ok = err == nil && (json || kind == "application/x-www-form-urlencoded")
		if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			ok = false
		}
		return json, ok
	}
}

// read reads the body, of maxBody at most (*http.MaxBytesError).
func (s *sent) read(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close")
		return &http.MaxBytesError{Limit: maxBody}
	}
	body := http.MaxBytesReader(w, r.Body, maxBody)
	if s.body == nil {
		s.body = make([]byte, 0, 2048)
	}
	for {
		n, err := body.Read(s.body[len(s.body):cap(s.body)])
		s.body = s.body[:len(s.body)+n]
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read body: %w", err)
		}
		if len(s.body) == cap(s.body) {
			s.body = append(s.body, 0)[:len(s.body)]
		}
	}
}

// decodeJSON reads the body as one JSON object.
func (s *sent) decodeJSON(t *schemas.Table) error {
	s.room()
	return record.EachMember(s.body, func(name []byte, kind record.JSONKind, text []byte) error {
		i := s.find(t, name)
		if i < 0 {
			return s.stranger(name)
		}
		in := &s.inputs[i]
		if in.Shape != schemas.Missing {
			return errTwice
		}
		in.Shape = shapes[kind]
		if in.Shape == schemas.Characters { // what was escaped is gone at the next member
			start := len(s.arena)
			s.arena = append(s.arena, text...)
			text = s.arena[start:]
		}
		in.Text = text
		return nil
	})
}

var shapes = [...]schemas.Shape{ //nolint:gochecknoglobals // a constant table
	record.JSONNull: schemas.Null, record.JSONBool: schemas.Truth, record.JSONNumber: schemas.Number,
	record.JSONString: schemas.Characters, record.JSONArray: schemas.Array, record.JSONObject: schemas.Object,
}

// room makes the arena as long as the texts of the body can become, so that it never moves.
func (s *sent) room() {
	if cap(s.arena) < len(s.body) {
		s.arena = make([]byte, 0, cap(s.body))
	}
}

// decodeForm reads the body as application/x-www-form-urlencoded (https://url.spec.whatwg.org/#urlencoded-parsing),
// but refuses a percent sign that is no escape instead of guessing.
func (s *sent) decodeForm(t *schemas.Table) error {
	s.room()
	rest := s.body
	for len(rest) > 0 {
		var pair []byte
		pair, rest, _ = bytes.Cut(rest, []byte{'&'})
		if len(pair) == 0 {
			continue
		}
		rawName, rawValue, _ := bytes.Cut(pair, []byte{'='})
		name, err := s.unescape(rawName)
		if err != nil {
			return err
		}
		value, err := s.unescape(rawValue)
		if err != nil {
			return err
		}
		if err := s.pair(t, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *sent) pair(t *schemas.Table, name, value []byte) error {
	switch i := s.find(t, name); {
	case i >= 0:
		in := &s.inputs[i]
		in.Twice = in.Shape != schemas.Missing
		in.Shape, in.Text = schemas.Written, value
	case string(name) == keyField:
		if s.keyed {
			return errTwice
		}
		s.key, s.keyed = string(value), true
	case string(name) == trapField:
		s.trapped = s.trapped || len(value) > 0
	default:
		return s.stranger(name)
	}
	return nil
}

func (s *sent) unescape(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '%') < 0 && bytes.IndexByte(text, '+') < 0 {
		return text, nil
	}
	start := len(s.arena)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(text) {
				return nil, errEscape
			}
			high, low := hexDigit(text[i+1]), hexDigit(text[i+2])
			if high > 15 || low > 15 {
				return nil, errEscape
			}
			c = high<<4 | low
			i += 2
		}
		s.arena = append(s.arena, c)
	}
	return s.arena[start:], nil
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func (s *sent) find(t *schemas.Table, name []byte) int {
	for i := range t.Fields {
		if t.Fields[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// stranger notes a name that is no field.
func (s *sent) stranger(name []byte) error {
	if len(s.unknown) >= maxUnknown {
		return errUnknowns
	}
	shown := strings.ToValidUTF8(string(name[:min(len(name), 64)]), "")
	if !utf8.Valid(name) || len(name) > 64 {
		shown += "…"
	}
	s.unknown = append(s.unknown, schemas.Problem{Field: -1, Name: shown, Code: schemas.UnknownField})
	return nil
}
