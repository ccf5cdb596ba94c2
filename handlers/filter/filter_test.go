package filter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/filter"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// ids gives the records that pass. A year of 0 is null; the operations are one a record, or one for all.
func ids(t *testing.T, where, ops string, years ...int64) (string, error) {
	t.Helper()
	h, err := filter.New(filter.Config{Where: where})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(games(t), len(years))
	for i, y := range years {
		b.String(0, string(rune('a'+i)))
		if y != 0 {
			b.Int(1, y)
		}
		b.Next()
	}
	for _, op := range ops {
		b.System().Ops = append(b.System().Ops, record.Op(op))
	}
	in := b.Batch(nil)
	out, err := h.Handle(t.Context(), in)
	var text strings.Builder
	for _, b := range out {
		if b == in {
			text.WriteString("same:")
		}
		for row := range b.Rows {
			text.Write(b.Columns[0].Text(row))
			if b != in && b.System.Op(row) == record.Delete {
				text.WriteByte('-')
			}
		}
	}
	return text.String(), err
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, where, ops string
		years            []int64
		want             string
		bad              []int
	}{
		{"some", "row.year >= 1980", "", []int64{1985, 1979, 0, 2006}, "ad", nil},
		{"all", "row.year >= 1900", "", []int64{1985, 1979}, "same:ab", nil},
		{"none", "row.year < 1900", "", []int64{1985, 1979}, "", nil},
		{"deletes pass", "row.year >= 1980", "IDTI", []int64{1979, 0, 0, 1985}, "b-cd", nil},
		{"deletes alone", "row.year >= 1980", "D", []int64{1979, 0}, "same:ab", nil},
		{"all and a delete", "row.year >= 1980", "ID", []int64{1985, 0}, "same:ab", nil},
		{"a constant", "false", "IDI", []int64{1, 2, 3}, "b-", nil},
		{"an update that passes no more", "row.year >= 1980", "UUI", []int64{1979, 1985, 0}, "a-b", nil},
		{"updates alone", "row.year >= 1980", "U", []int64{1979, 0}, "a-b-", nil},
		{"a failing row", "2 % (row.year - 1900) == 0", "", []int64{1901, 1900, 1902}, "", []int{1}},
		{"a failing delete", "2 % (row.year - 1900) == 0", "IDI", []int64{1901, 1900, 1950}, "ab-", nil},
		{"both", "2 % (row.year - 1900) == 0", "IDI", []int64{1900, 1900, 1902}, "", []int{0}},
	} {
		got, err := ids(t, c.where, c.ops, c.years...)
		var bad []int
		if rows, ok := errors.AsType[*fault.Rows](err); ok {
			for _, r := range rows.Bad {
				bad = append(bad, r.Index)
				if r.Column != "year" {
					t.Errorf("%s: column %q", c.name, r.Column)
				}
			}
		}
		if got != c.want || len(bad) != len(c.bad) || len(bad) > 0 && bad[0] != c.bad[0] || (err != nil) != (c.bad != nil) {
			t.Errorf("%s: %q %v, want %q %v", c.name, got, err, c.want, c.bad)
		}
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]struct {
		offset int
		text   string
	}{
		"row.genre != '' && row.yaear > 1": {23, "where: there is no column yaear (did you mean year?)"},
		"row.year + 1":                     {0, "where: the expression is int64, a filter wants a bool (write a comparison)"},
	} {
		h, err := filter.New(filter.Config{Where: where})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Shape(games(t))
		var field *config.FieldError
		if !errors.As(err, &field) || field.Offset != want.offset || field.Error() != want.text || fault.Code(err) != "ACQ-FILTER-001" {
			t.Errorf("%s: %v, want %q at %d", where, err, want.text, want.offset)
		}
	}
}
