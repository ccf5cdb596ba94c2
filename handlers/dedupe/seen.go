package dedupe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/acequia-io/acequia/fault"
)

// gone is the time of a key whose record was deleted.
const gone = math.MinInt64

// seen are the keys in the window, of all lanes.
type seen struct {
	window int64
	most   int

	mu      sync.Mutex
	table   table
	lanes   []laneSeen
	numbers map[string]int32
	newest  int64 // of all lanes
}

type laneSeen struct {
	newest int64
	live   bool
	known  bool // it has seen something, in this process or before
}

func newSeen(window int64, most int) *seen {
	return &seen{
		window: window, most: most,
		lanes: []laneSeen{{newest: gone}}, numbers: map[string]int32{"": 0}, newest: gone,
	}
}

// number gives the number that stands for a lane.
func (s *seen) number(lane string) int32 {
	n, ok := s.numbers[lane]
	if !ok {
		n = int32(len(s.lanes)) //nolint:gosec // lanes are few
		s.numbers[lane] = n
		s.lanes = append(s.lanes, laneSeen{newest: gone})
	}
	return n
}

// look says whether a record is no copy, and whether its time is to be remembered. A record that is older than what was
// seen by more than the window is no copy, and is not remembered in its place.
func (s *seen) look(k key, at int64, lane int32) (fresh, newer bool) {
	if e := s.table.get(k); e != nil {
		if apart(e.at, at) < uint64(s.window) { //nolint:gosec // it is positive
			return false, false
		}
		if at < e.at {
			return true, false
		}
	}
	s.put(k, at, lane)
	return true, true
}

// apart is the distance between two times, also where it is too large for an int64.
func apart(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b) //nolint:gosec // two's complement
}

func (s *seen) put(k key, at int64, lane int32) {
	s.table.put(slot{key: k, at: at, lane: lane, used: true}, s.fresh)
	s.lanes[lane].newest = max(s.lanes[lane].newest, at)
	s.newest = max(s.newest, at)
}

// fresh says whether a slot is still of use.
func (s *seen) fresh(e *slot) bool { return e.at > s.horizon(e.lane) }

// removeAll is for a truncate, which a block has as the zero key with the time gone. A digest does not tell its stream, so that
// all are forgotten: a copy that passes does less harm than a record that does not.
func (s *seen) removeAll() { s.table = table{} }

// horizon is up to which time what a lane has seen can be forgotten: by its own time while it flows, so that a lane that
// reads old records beside one that reads new ones keeps its window.
func (s *seen) horizon(lane int32) int64 {
	newest := s.newest
	if s.lanes[lane].live {
		newest = s.lanes[lane].newest
	}
	if newest < gone+s.window {
		return gone
	}
	return newest - s.window
}

// bound keeps the memory small. Too many keys in the window end the incarnation.
func (s *seen) bound() error {
	if s.table.keys > s.most {
		s.table.keep(s.fresh)
	}
	if s.table.keys <= s.most {
		return nil
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-DEDUPE-002", Err: fmt.Errorf("there are %d keys in the window, and at most %d are kept", s.table.keys, s.most),
		Remedy: "shorten the window, or raise max_keys and give the process memory",
	}
}

// forget removes what a lane has seen.
func (s *seen) forget(n int32) {
	s.table.keep(func(e *slot) bool { return e.lane != n })
	s.lanes[n].newest = gone
}

// entryLen is the length of a key and its time in a block.
const entryLen = keyLen + 8

func appendEntry(dst []byte, k key, at int64) []byte {
	return binary.LittleEndian.AppendUint64(k.append(dst), uint64(at)) //nolint:gosec // its bits
}

var errBlock = &fault.Error{
	Class: fault.Fatal, Code: "ACQ-DEDUPE-003", Err: errors.New("what a step remembers is damaged"),
	Remedy: "restore the state file from a copy",
}

// load adds what a group of a lane had seen.
func (s *seen) load(lane int32, block []byte) error {
	if len(block)%entryLen != 0 {
		return errBlock
	}
	for ; len(block) > 0; block = block[entryLen:] {
		k := keyOf(block)
		at := int64(binary.LittleEndian.Uint64(block[keyLen:])) //nolint:gosec // its bits
		if e := s.table.get(k); at == gone && k == (key{}) {
			s.removeAll()
		} else if at == gone {
			s.table.remove(k)
		} else if e == nil || e.at <= at {
			s.put(k, at, lane)
		}
	}
	s.lanes[lane].known = true
	return nil
}
