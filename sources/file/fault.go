package file

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// The codes of what is wrong with files, and of what is wrong with a record in them.
const (
	codeNoFile    = "ACQ-FILE-001"
	codeOpen      = "ACQ-FILE-002"
	codeFormat    = "ACQ-FILE-003"
	codeMissing   = "ACQ-FILE-004"
	codeDouble    = "ACQ-FILE-005"
	codePosition  = "ACQ-FILE-006"
	codeChanged   = "ACQ-FILE-007"
	codeDamaged   = "ACQ-FILE-008"
	codeEncoding  = "ACQ-FILE-009"
	codeNoSample  = "ACQ-FILE-010"
	codeType      = "ACQ-FILE-011"
	codeStdin     = "ACQ-FILE-012"
	codeKept      = "ACQ-FILE-013"
	codeValue     = "ACQ-FILE-020"
	codeRagged    = "ACQ-FILE-021"
	codeQuote     = "ACQ-FILE-022"
	codeText      = "ACQ-FILE-023"
	codeLong      = "ACQ-FILE-024"
	codeJSON      = "ACQ-FILE-025"
	codeTwice     = "ACQ-FILE-026"
	codeKey       = "ACQ-FILE-027"
	fixAndRestart = "mend the file and start again; what was read before this place is kept"
)

func stop(code, place, remedy string, err error) error {
	return &fault.Error{Class: fault.Fatal, Code: code, Place: place, Err: err, Remedy: remedy}
}

// cannotOpen says why a file cannot be read.
func cannotOpen(path string, err error) error {
	remedy := "check that the file is readable, then start again"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy = "the file was there before: put it back, or start the pipeline anew"
	case errors.Is(err, fs.ErrPermission):
		remedy = "give the user that runs the program the right to read it"
	}
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return stop(codeOpen, path, remedy, fmt.Errorf("cannot be read: %w", err))
}

// missing says that a file does not have a column.
func missing(place, name string, have []string) error {
	remedy := "the file has " + list(have)
	if near := nearest(name, have); near != "" {
		remedy = fmt.Sprintf("did you mean %q? the file has %s", near, list(have))
	}
	return stop(codeMissing, place, remedy, fmt.Errorf("there is no column %q", name))
}

// list writes names for people.
func list(names []string) string {
	const most = 40
	switch {
	case len(names) == 0:
		return "no columns"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// nearest gives the name that is most like another, or "" when none is.
func nearest(name string, have []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, other := range have {
		if d := distance(strings.ToLower(name), strings.ToLower(other)); d < least {
			best, least = other, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
