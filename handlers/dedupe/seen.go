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
	entries map[key]entry
	sweepAt int // size at which entries that are too old are removed
	lanes   []laneSeen
	numbers map[string]int32
	newest  int64 // of all lanes
}

// entry is when a key was seen, and by which lane.
type entry struct {
	at   int64
	lane int32
}

type laneSeen struct {
	newest int64
	live   bool
	known  bool // it has seen something, in this process or before
}

// firstSweep is the least size at which it is worth to look for what is too old.
const firstSweep = 4096

func newSeen(window int64, most int) *seen {
	return &seen{
		window: window, most: most, entries: map[key]entry{}, sweepAt: firstSweep,
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
	if e, ok := s.entries[k]; ok {
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
	s.entries[k] = entry{at, lane}
	s.lanes[lane].newest = max(s.lanes[lane].newest, at)
	s.newest = max(s.newest, at)
}

func (s *seen) remove(k key) { delete(s.entries, k) }

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
	if len(s.entries) > min(s.sweepAt, s.most) {
		s.sweep()
	}
	if len(s.entries) <= s.most {
		return nil
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-DEDUPE-002", Err: fmt.Errorf("there are %d keys in the window, and at most %d are kept", len(s.entries), s.most),
		Remedy: "shorten the window, or raise max_keys and give the process memory",
	}
}

// sweep removes what is too old, and waits until the rest has doubled: each key is looked at a few times.
func (s *seen) sweep() {
	horizons := make([]int64, len(s.lanes))
	for i := range horizons {
		horizons[i] = s.horizon(int32(i))
	}
	for k, e := range s.entries {
		if e.at <= horizons[e.lane] {
			delete(s.entries, k)
		}
	}
	s.sweepAt = max(firstSweep, 2*len(s.entries))
}

// forget removes what a lane has seen.
func (s *seen) forget(n int32) {
	for k, e := range s.entries {
		if e.lane == n {
			delete(s.entries, k)
		}
	}
	s.lanes[n].newest = gone
}

// entryLen is the length of a key and its time in a block.
const entryLen = len(key{}) + 8

func appendEntry(dst []byte, k key, at int64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, k[:]...), uint64(at)) //nolint:gosec // its bits
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
		k := key(block)
		at := int64(binary.LittleEndian.Uint64(block[len(k):])) //nolint:gosec // its bits
		if e, ok := s.entries[k]; at == gone {
			s.remove(k)
		} else if !ok || e.at <= at {
			s.put(k, at, lane)
		}
	}
	s.lanes[lane].known = true
	return nil
}
