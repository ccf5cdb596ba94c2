package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/acequia-io/acequia/schemas"
)

// entry is what a request sent: an input a field, and the names that are no field.
type entry struct {
	inputs  []schemas.Input
	unknown []schemas.Problem
	key     string // of a page: the hidden idempotency key
	trap    bool   // of a page: the field that people do not see was filled in
}

// The names of the hidden fields of the page.
const (
	keyField  = "_key"
	trapField = "website"
)

func (e *entry) set(t *schemas.Table, name string, in schemas.Input) {
	i := t.Index(name)
	if i < 0 {
		e.unknown = append(e.unknown, schemas.Problem{Field: -1, Name: name, Code: schemas.UnknownField})
		return
	}
	if e.inputs[i].Shape != schemas.Missing {
		e.inputs[i].Twice = true
		return
	}
	e.inputs[i] = in
}

// decodeJSON reads one JSON object. Its error says why the body is no such thing; wrong values are left to the check.
func decodeJSON(t *schemas.Table, body []byte) (*entry, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("the body is not a JSON object%s", reason(err))
	}
	e := &entry{inputs: make([]schemas.Input, len(t.Fields))}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("the JSON cannot be read%s", reason(err))
		}
		text, ok := name.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil || !ok {
			return nil, fmt.Errorf("the JSON cannot be read%s", reason(err))
		}
		in, err := inputOf(raw)
		if err != nil {
			return nil, err
		}
		e.set(t, text, in)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("the JSON ends too early%s", reason(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the JSON object")
	}
	return e, nil
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func inputOf(raw json.RawMessage) (schemas.Input, error) {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return schemas.Input{}, fmt.Errorf("the JSON cannot be read: %w", err)
		}
		if strings.ContainsRune(text, utf8.RuneError) && !bytes.ContainsRune(raw, utf8.RuneError) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
			return schemas.Input{}, errors.New("a string holds half of a surrogate pair")
		}
		return schemas.Input{Shape: schemas.Characters, Text: []byte(text)}, nil
	case '{':
		return schemas.Input{Shape: schemas.Object}, nil
	case '[':
		return schemas.Input{Shape: schemas.Array}, nil
	case 't', 'f':
		return schemas.Input{Shape: schemas.Truth, Text: raw}, nil
	case 'n':
		return schemas.Input{Shape: schemas.Null}, nil
	}
	return schemas.Input{Shape: schemas.Number, Text: raw}, nil
}

// decodePage reads what the page sends, application/x-www-form-urlencoded.
func decodePage(t *schemas.Table, body []byte) (*entry, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("the form cannot be read: %w", err)
	}
	e := &entry{inputs: make([]schemas.Input, len(t.Fields)), key: values.Get(keyField), trap: values.Get(trapField) != ""}
	for name, texts := range values {
		if name == keyField || name == trapField {
			continue
		}
		for _, text := range texts {
			e.set(t, name, schemas.Input{Shape: schemas.Written, Text: []byte(text)})
		}
	}
	return e, nil
}
