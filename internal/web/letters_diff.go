package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// member is a field of a record.
type member struct {
	name  string
	value string // compact JSON
}

// members reads the fields of a JSON object, in its order.
func members(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("a record is a JSON object"), err)
	}
	var out []member
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // the names of an object are
		if seen[name] {
			return nil, fmt.Errorf("%q stands twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("the value of %q: %w", name, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, value); err != nil {
			return nil, err
		}
		out = append(out, member{name, compact.String()})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the record")
	}
	return out, nil
}

// change is what an edit does to a field.
type change string

const (
	same    change = "same"
	changed change = "changed"
	added   change = "added"
	removed change = "removed"
)

// diffLine is a field before and after an edit.
type diffLine struct {
	Name, Before, After string
	Change              change
}

// compare lists the fields of two records: those of the first in its order, then those that the second adds.
func compare(before, after []member) (lines []diffLine, differ bool) {
	now := map[string]string{}
	for _, m := range after {
		now[m.name] = m.value
	}
	had := map[string]bool{}
	for _, m := range before {
		had[m.name] = true
		line := diffLine{Name: m.name, Before: m.value, Change: removed}
		if value, ok := now[m.name]; ok {
			line.After, line.Change = value, changed
			if value == m.value {
				line.Change = same
			}
		}
		differ = differ || line.Change != same
		lines = append(lines, line)
	}
	for _, m := range after {
		if !had[m.name] {
			lines, differ = append(lines, diffLine{Name: m.name, After: m.value, Change: added}), true
		}
	}
	return lines, differ
}
