package config

import (
	"errors"
	"fmt"
	"strings"
)

// Size is a number of bytes, written as 4096, 64KiB, 128MiB or 1GiB.
type Size int64

// Share is a part of a whole, 0 to 1, written as 5% or 0.05.
type Share float64

// Secret is a text that is never printed.
type Secret string

// String hides the secret; so does every format that fmt knows.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(secret)"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Entry is a name and its value.
type Entry[T any] struct {
	Name  string
	Value T
}

// Ordered is a mapping in the order in which it is written.
type Ordered[T any] []Entry[T]

// Get gives the value of a name.
func (o Ordered[T]) Get(name string) (value T, ok bool) {
	for _, e := range o {
		if e.Name == name {
			return e.Value, true
		}
	}
	return value, false
}

// FieldError is a mistake in a value of a plugin's configuration. The file's reader turns it into line and column.
type FieldError struct {
	Path   []string // keys and, for lists, indexes, from the plugin's own block; empty: the block as a whole
	Offset int      // characters into the text of the value, where it is known; else 0
	Err    error
	Remedy string // what to write instead, one clause; "" when Err says it
}

// Error gives path and reason.
func (e *FieldError) Error() string {
	text := e.Err.Error()
	if len(e.Path) > 0 {
		text = strings.Join(e.Path, ".") + ": " + text
	}
	if e.Remedy != "" {
		text += " (" + e.Remedy + ")"
	}
	return text
}

// Unwrap gives the reason.
func (e *FieldError) Unwrap() error { return e.Err }

// At puts an error at a path of the configuration. A FieldError, also one inside errors.Join, gets the path put before
// its own; nil stays nil.
func At(err error, path ...string) error {
	switch e := err.(type) { //nolint:errorlint // only what it is, not what it wraps
	case nil:
		return nil
	case *FieldError:
		inner := *e
		inner.Path = append(append([]string{}, path...), e.Path...)
		return &inner
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, At(one, path...))
		}
		return errors.Join(all...)
	}
	return &FieldError{Path: path, Err: err}
}

// Wrong makes a mistake at a path.
func Wrong(path, format string, args ...any) error {
	return &FieldError{Path: []string{path}, Err: fmt.Errorf(format, args...)}
}
