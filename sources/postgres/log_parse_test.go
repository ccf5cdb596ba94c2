package postgres

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/jackc/pglogrepl"

	"github.com/acequia-io/acequia/record"
)

// FuzzChange reads arbitrary messages beside pglogrepl: what both take, both understand alike, and nothing makes ours panic.
func FuzzChange(f *testing.F) {
	f.Add([]byte("I\x00\x00\x40\x01N\x00\x03t\x00\x00\x00\x01anut\x00\x00\x00\x00"))
	f.Add([]byte("U\x00\x00\x40\x01K\x00\x01t\x00\x00\x00\x01aN\x00\x01t\x00\x00\x00\x01b"))
	f.Add([]byte("U\x00\x00\x40\x01O\x00\x02t\x00\x00\x00\x01anN\x00\x02t\x00\x00\x00\x01bu"))
	f.Add([]byte("D\x00\x00\x40\x01K\x00\x01t\x00\x00\x00\x01a"))
	f.Add([]byte("D\x00\x00\x40\x01O\x00\xff"))
	f.Add([]byte("I\x00\x00\x01aN\x00\x00"))
	f.Fuzz(func(t *testing.T, m []byte) {
		if len(m) == 0 || !bytes.Contains([]byte("IUD"), m[:1]) {
			return
		}
		var c change
		if c.parse(m) != nil {
			return
		}
		theirs, err := pglogrepl.Parse(m)
		if err != nil && m[0] == 'I' && len(c.new) == 0 {
			return // a row of a table without columns: pglogrepl wants a byte more
		}
		if err != nil {
			t.Fatalf("%q was taken: %v", m, err)
		}
		if c.relation != binary.BigEndian.Uint32(m[1:]) {
			t.Fatal("another relation")
		}
		var before, after *pglogrepl.TupleData
		switch their := theirs.(type) {
		case *pglogrepl.InsertMessage:
			after = their.Tuple
		case *pglogrepl.UpdateMessage:
			before, after = their.OldTuple, their.NewTuple
		case *pglogrepl.DeleteMessage:
			before = their.OldTuple
		}
		for _, pair := range []struct {
			theirs *pglogrepl.TupleData
			ours   int
		}{{before, len(c.old)}, {after, len(c.new)}} {
			if pair.theirs != nil && len(pair.theirs.Columns) != pair.ours {
				t.Fatalf("%q: %d columns, and pglogrepl has %d", m, pair.ours, len(pair.theirs.Columns))
			}
		}
		if after == nil {
			return
		}
		for i, v := range c.new {
			if theirs := after.Columns[i]; theirs.DataType != v.Kind || !bytes.Equal(theirs.Data, v.Data) {
				t.Fatalf("%q: column %d is %c %q, and pglogrepl has %c %q", m, i, v.Kind, v.Data, theirs.DataType, theirs.Data)
			}
		}
	})
}

func TestLogPositions(t *testing.T) {
	t.Parallel()
	for _, p := range []logPosition{{End: 0x16B3748}, {End: 0xABCDEF0123, Commit: 0xABCDEF0200, Seen: 12345}} {
		got, err := parseLogPosition(record.Position(p.String()))
		if err != nil || got != p {
			t.Errorf("%s is read as %+v: %v", p, got, err)
		}
	}
	for _, bad := range []record.Position{"", "x", "0/1 0/2", "0/1 0/2 x", "0/3 0/2 1", "0/1 0/2 3 4"} {
		if _, err := parseLogPosition(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestLogTransactionsAreSeen compares the low halves of transactions with snapshots, also where the numbers go round.
func TestLogTransactionsAreSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		snapshot string
		xid      uint32
		seen     bool
	}{
		{"100:105:101,103", 99, true},
		{"100:105:101,103", 101, false},
		{"100:105:101,103", 102, true},
		{"100:105:101,103", 103, false},
		{"100:105:", 104, true},
		{"100:105:", 105, false},
		{"100:105:", 50, true},
		{"4294967290:4294967300:4294967297", 1, false},
		{"4294967290:4294967300:4294967297", 2, true},
		{"4294967290:4294967300:4294967297", 4, false},
		{"4294967290:4294967300:4294967297", 4294967291, true},
	} {
		now, err := parseVisible(c.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if seen := allVisible(now, map[uint32]bool{c.xid: true}); seen != c.seen {
			t.Errorf("%d in %s: %v", c.xid, c.snapshot, seen)
		}
	}
}
