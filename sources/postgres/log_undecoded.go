package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// undecodedReads is how often the server may fail to decode its log at one place.
const undecodedReads = 3

// undecoded is where the server failed to decode its log, and how often.
type undecoded struct {
	at    string
	times int
}

// undecodable says whether the slot is to be given up, since the server fails again and again, at one place, to decode its log. Errors
// of class XX are its own, such as "could not map filenode to relation OID", which servers up to now give in a few cases after a
// TRUNCATE: they come again for ever, and what is behind them is in the tables all the same.
func (s *Source) undecodable(at logPosition, err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || !strings.HasPrefix(e.Code, "XX") {
		return false
	}
	s.mu.Lock()
	if u := &s.feed.undecoded; u.at == at.String() {
		u.times++
	} else {
		*u = undecoded{at: at.String(), times: 1}
	}
	given := s.feed.undecoded.times >= undecodedReads
	s.mu.Unlock()
	if given {
		s.loseLog(fmt.Sprintf("the server cannot decode its log after %s: %s", at, e.Message))
	}
	return given
}
