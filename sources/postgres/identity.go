package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// identity tells a server from another one: transaction numbers and positions of the log mean something only where they were taken.
type identity struct {
	System   string `json:"system,omitempty"` // system_identifier
	Timeline int    `json:"timeline,omitempty"`
}

const (
	// serverKey is where it is kept how far the server's log was when it was last seen.
	serverKey = "server"
	// seenEvery is how often that is written down at most.
	seenEvery = time.Minute
)

// seen is how far a server's log was.
type seen struct {
	identity
	LSN uint64 `json:"lsn"`
}

// wentBack says where the server is, and why when it is as it was at an earlier time, though it is the same: a copy of its files was
// put back. What is not seen is a copy whose log has grown beyond where it was last looked at. A standby is not asked, for it may lag
// after a start; and what is another server each table finds by itself.
func (s *Source) wentBack(ctx context.Context, c *postgres.Conn, server postgres.Server) (now seen, why string, err error) {
	now.identity = identity{System: server.System, Timeline: server.Timeline}
	if server.Standby {
		return now, "", nil
	}
	if err := c.QueryRow(ctx, "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8").Scan(&now.LSN); err != nil {
		return now, "", postgres.Explain(err, "ask how far the log is", server.Database)
	}
	if s.seen == (seen{}) {
		text, err := s.state.Load(ctx, serverKey)
		if err != nil {
			return now, "", err
		}
		if text != nil {
			if err := json.Unmarshal(text, &s.seen); err != nil {
				return now, "", fault.Stop(fmt.Errorf("what is kept of the server cannot be read: %w", err))
			}
		}
	}
	if was := s.seen; was.identity == now.identity && now.LSN < was.LSN {
		why = fmt.Sprintf("the server went back to an earlier time: its log is at %s and was at %s", lsnText(now.LSN), lsnText(was.LSN))
	}
	return now, why, nil
}

// see notes where the server is, once all that follows from it is noted: at once when it is another or went back, else now and then.
func (s *Source) see(ctx context.Context, now seen, back bool) error {
	if now.LSN == 0 || now == s.seen || !back && now.identity == s.seen.identity && time.Since(s.seenAt) < seenEvery {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("keep what was seen of the server: %w", err)
	}
	s.seen, s.seenAt = now, time.Now()
	return s.state.Save(ctx, serverKey, text)
}

func lsnText(lsn uint64) string { return fmt.Sprintf("%X/%X", lsn>>32, uint32(lsn)) } //nolint:gosec // the low half
