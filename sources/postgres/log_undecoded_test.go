package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// A server that fails at one place again and again loses its slot; one that fails here and there, or for another reason, does not.
func TestLogThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	own := fmt.Errorf("stream: %w", &pgconn.PgError{Code: "XX000", Message: "could not map filenode"})
	for name, c := range map[string]struct {
		errs []error
		at   []logPosition
		lost bool
	}{
		"again and again":   {[]error{own, own, own}, []logPosition{{End: 5}, {End: 5}, {End: 5}}, true},
		"here and there":    {[]error{own, own, own}, []logPosition{{End: 5}, {End: 6}, {End: 7}}, false},
		"for another one":   {[]error{own, own, &pgconn.PgError{Code: "57P01"}}, []logPosition{{End: 5}, {End: 5}, {End: 5}}, false},
		"of the connection": {[]error{errors.New("reset"), errors.New("reset"), errors.New("reset")}, []logPosition{{End: 5}, {End: 5}, {End: 5}}, false},
	} {
		s := &Source{}
		lost := false
		for i, err := range c.errs {
			lost = s.undecodable(c.at[i], err)
		}
		if lost != c.lost || lost != strings.Contains(s.feed.lost, "could not map filenode") {
			t.Errorf("%s: %t, %q", name, lost, s.feed.lost)
		}
	}
}
