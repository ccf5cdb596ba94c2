package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written as 4096, 64KiB, 128MiB or 1GiB.
type Size int64

// ParseSize reads a size.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "BKMGTi")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
	by, known := shift[text[len(digits):]]
	if err != nil || !known || n < 0 || n > math.MaxInt64>>by {
		return 0, fmt.Errorf("%q is no size: want one such as 4096, 64KiB, 128MiB or 1GiB", text)
	}
	return Size(n << by), nil
}

// ParseDuration reads a duration as Go writes it, or in whole days: 90d.
func ParseDuration(text string) (time.Duration, error) {
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return time.ParseDuration(text)
}

// String writes the size as ParseSize reads it.
func (s Size) String() string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	n, i := int64(s), 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// Share is a part of a whole, 0 to 1, written as 5% or 0.05.
type Share float64

// ParseShare reads a share.
func ParseShare(text string) (Share, error) {
	digits, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(digits, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) || strings.ContainsAny(text, "xXpP_") {
		return 0, fmt.Errorf("%q is no share: want one such as 5%% or 0.05, from 0 to 1", text)
	}
	return Share(f), nil
}

// String writes the share in per cent.
func (s Share) String() string { return strconv.FormatFloat(float64(s)*100, 'g', 10, 64) + "%" }

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
	Path    []string // keys and, for lists, indexes, from the plugin's own block; empty: the block as a whole
	Offset  int      // characters into the text of the value, where it is known; else 0
	Err     error
	Remedy  string // what to write instead, one clause; "" when Err says it
	Warning bool   // it works, and may not be what was meant
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
