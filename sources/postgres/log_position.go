package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// logPosition is where reading of the log stands: all transactions that end at or before End are behind it, and of the one whose
// commit is at Commit the first Seen changes. The server sends whole transactions only, so it sends that one again.
type logPosition struct {
	End    pglogrepl.LSN
	Commit pglogrepl.LSN // 0: End is between two transactions
	Seen   uint64        // changes that the server sends, whether they made records or not
}

// String is "END", or "END COMMIT SEEN".
func (p logPosition) String() string {
	if p.Commit == 0 {
		return p.End.String()
	}
	return fmt.Sprintf("%s %s %d", p.End, p.Commit, p.Seen)
}

// parseLogPosition reads what String wrote.
func parseLogPosition(text record.Position) (p logPosition, err error) {
	words := strings.Fields(string(text))
	bad := fault.Stop(fmt.Errorf("postgres: %q is no position in the log", text))
	if len(words) != 1 && len(words) != 3 {
		return p, bad
	}
	if p.End, err = pglogrepl.ParseLSN(words[0]); err != nil {
		return p, bad
	}
	if len(words) == 3 {
		var err1, err2 error
		p.Commit, err1 = pglogrepl.ParseLSN(words[1])
		p.Seen, err2 = strconv.ParseUint(words[2], 10, 64)
		if err1 != nil || err2 != nil || p.Commit < p.End {
			return p, bad
		}
	}
	return p, nil
}
