//go:build cgo

package oracle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// row is the values of one record as texts, by column.
type row map[string]string

// null is the text of a null.
const null = "\x00"

// value gives a column; one that a sink does not know is null.
func (r row) value(column string) string {
	if v, ok := r[column]; ok {
		return v
	}
	return null
}

func (r row) of(columns []string) string {
	values := make([]string, len(columns))
	for i, c := range columns {
		values[i] = r.value(c)
	}
	return strings.Join(values, "\x1f")
}

// held is what the database or a sink holds of a subject.
type held struct {
	columns []string // of the database
	rows    map[string]row
	bag     map[string]int // of a subject without a key: how often each row is there
	doubled int            // in the files of a lake: rows with the same key, version and operation
}

// hold takes rows in by their key.
func hold(s subject, columns []string, rows []row) (held, error) {
	h := held{columns: columns, rows: map[string]row{}, bag: map[string]int{}}
	for _, r := range rows {
		if len(s.key) == 0 {
			h.bag[r.of(columns)]++
			continue
		}
		key := r.of(s.key)
		if _, twice := h.rows[key]; twice {
			return h, fmt.Errorf("%s: key %q is there twice", s.name, key)
		}
		h.rows[key] = r
	}
	return h, nil
}

// difference is what a sink has otherwise than the database.
type difference struct {
	missing, stale, ghosts []string // keys; of a subject without a key, rows
}

// first is one of the keys.
func (d difference) first() string {
	for _, key := range append(append(slices.Clone(d.missing), d.stale...), d.ghosts...) {
		key, _, _ = strings.Cut(key, ": ")
		return key
	}
	return ""
}

func (d difference) count() int { return len(d.missing) + len(d.stale) + len(d.ghosts) }

// err tells the difference, with some of the keys.
func (d difference) err(where string) error {
	var errs []error
	for _, kind := range []struct {
		name string
		keys []string
	}{{"missing", d.missing}, {"stale", d.stale}, {"deleted in the database, but there", d.ghosts}} {
		if n := len(kind.keys); n > 0 {
			slices.Sort(kind.keys)
			errs = append(errs, fmt.Errorf("%s: %d %s: %q", where, n, kind.name, kind.keys[:min(n, 4)]))
		}
	}
	return errors.Join(errs...)
}

// compare tells a sink and the database apart, in the columns that the database has now.
func compare(s subject, want, got held) difference {
	var d difference
	if len(s.key) == 0 {
		for r, n := range want.bag {
			if got.bag[r] < n {
				d.missing = append(d.missing, strings.ReplaceAll(r, "\x1f", " | "))
			}
		}
		for r, n := range got.bag {
			if want.bag[r] < n {
				d.ghosts = append(d.ghosts, strings.ReplaceAll(r, "\x1f", " | "))
			}
		}
		return d
	}
	for key, r := range want.rows {
		other, ok := got.rows[key]
		switch {
		case !ok:
			d.missing = append(d.missing, key)
		case r.of(want.columns) != other.of(want.columns):
			d.stale = append(d.stale, key+": "+firstDifference(want.columns, r, other))
		}
	}
	for key := range got.rows {
		if _, ok := want.rows[key]; !ok {
			d.ghosts = append(d.ghosts, key)
		}
	}
	return d
}

func firstDifference(columns []string, a, b row) string {
	for _, c := range columns {
		if a.value(c) != b.value(c) {
			return fmt.Sprintf("%s is %.40q, not %.40q", c, b.value(c), a.value(c))
		}
	}
	return ""
}

// TestDifferencesAreFound changes a copy in each way and wants each to be told.
func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	keyed, keyless := subject{name: "t", key: []string{"a", "b"}}, subject{name: "t"}
	columns := []string{"a", "b", "v"}
	rows := []row{{"a": "1", "b": "x", "v": "1"}, {"a": "1", "b": "y", "v": null}, {"a": "1", "b": "z", "v": ""}}
	for name, c := range map[string]struct {
		change                 func(rows []row) []row
		missing, stale, ghosts int // of the keyed one
		lacks, extra           int // of the other
	}{
		"equal":        {func(r []row) []row { return r }, 0, 0, 0, 0, 0},
		"null is none": {func(r []row) []row { delete(r[1], "v"); return r }, 0, 0, 0, 0, 0},
		"lost":         {func(r []row) []row { return r[1:] }, 1, 0, 0, 1, 0},
		"ghost":        {func(r []row) []row { return append(r, row{"a": "2", "b": "x", "v": "1"}) }, 0, 0, 1, 0, 1},
		"stale":        {func(r []row) []row { r[0]["v"] = "0"; return r }, 0, 1, 0, 1, 1},
		"empty null":   {func(r []row) []row { r[1]["v"] = ""; return r }, 0, 1, 0, 1, 1},
		"null empty":   {func(r []row) []row { r[2]["v"] = null; return r }, 0, 1, 0, 1, 1},
	} {
		copied := make([]row, len(rows))
		for i, r := range rows {
			copied[i] = maps.Clone(r)
		}
		changed := c.change(copied)
		for _, s := range []subject{keyed, keyless} {
			want, errWant := hold(s, columns, rows)
			got, errGot := hold(s, columns, changed)
			if err := errors.Join(errWant, errGot); err != nil {
				t.Fatal(name, err)
			}
			d := compare(s, want, got)
			missing, stale, ghosts := c.missing, c.stale, c.ghosts
			if len(s.key) == 0 {
				missing, stale, ghosts = c.lacks, 0, c.extra
			}
			if len(d.missing) != missing || len(d.stale) != stale || len(d.ghosts) != ghosts {
				t.Errorf("%s, key %v: %+v", name, s.key, d)
			}
		}
	}
	if _, err := hold(keyed, columns, append(rows, rows[0])); err == nil {
		t.Error("a key that is there twice was not told")
	}
	twice, err := hold(keyless, columns, append(rows, rows[0]))
	once, errOnce := hold(keyless, columns, rows)
	if d := compare(keyless, once, twice); err != nil || errOnce != nil || len(d.ghosts) != 1 {
		t.Error("a row that is there twice was not told", d, err, errOnce)
	}
}
