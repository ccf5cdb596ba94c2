package postgres

import (
	"context"
	"strconv"

	"github.com/acequia-io/acequia/internal/postgres"
)

// toldTruncate notes that the log has told of a TRUNCATE, and by which transaction.
func (s *Source) toldTruncate(stream string, xid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feed.truncated == nil {
		s.feed.truncated = map[string]uint32{}
	}
	s.feed.truncated[stream] = xid
}

// tookTruncate says whether the file that a table has now is that of the last TRUNCATE that the log has told. An ALTER TABLE behind it
// makes another file, whose rows nothing tells: the table's row in pg_class is then of another transaction; or, in the same one, of a
// command that is not older than the rows. (A command's number is lost where a transaction that was rolled back has changed the row.)
func (s *Source) tookTruncate(ctx context.Context, c *postgres.Conn, t *table) (told bool, err error) {
	s.mu.Lock()
	xid, found := s.feed.truncated[t.stream]
	delete(s.feed.truncated, t.stream)
	s.mu.Unlock()
	if !found {
		return false, nil
	}
	err = c.QueryRow(ctx, "SELECT c.xmin = $2::text::xid AND c.xmax = '0'::xid AND NOT EXISTS (SELECT FROM "+from(t.Table)+
		" r WHERE r.xmin = c.xmin AND r.cmin::text::int8 <= c.cmin::text::int8) FROM pg_class c WHERE c.oid = $1",
		t.OID, strconv.FormatUint(uint64(xid), 10)).Scan(&told)
	return told, postgres.Explain(err, "look for rows from before in "+t.Quoted(), t.stream)
}
