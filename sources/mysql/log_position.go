package mysql

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// logPosition is where reading of the log stands: all before the offset of the file is behind it, and of the transaction that begins there the
// first Seen rows. The server is asked for that transaction again.
type logPosition struct {
	File   string  `json:"f"`
	Offset uint32  `json:"o"`
	Seen   uint64  `json:"n,omitempty"` // rows that the log has, whether they made records or not
	GTIDs  gtidSet `json:"g,omitempty"` // of the last transaction of each domain before Offset

	// Prepared has the transactions (XA) that were prepared before Offset and have not ended, with the streams that they change.
	Prepared map[string][]string `json:"x,omitempty"`
}

// gtid is one of MariaDB's: domain-server-sequence.
type gtid struct {
	domain, server uint32
	sequence       uint64
}

func (g gtid) String() string { return fmt.Sprintf("%d-%d-%d", g.domain, g.server, g.sequence) }

// gtidSet is the last of each domain, as the server writes it, in order of the domains.
type gtidSet string

// parseGTIDs reads a set of MariaDB's.
func parseGTIDs(text string) (map[uint32]gtid, error) {
	all := map[uint32]gtid{}
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		parts := strings.Split(one, "-")
		if len(parts) != 3 {
			return nil, fault.Stop(fmt.Errorf("mysql: %q is no GTID", one))
		}
		var numbers [3]uint64
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 10, []int{32, 32, 64}[i])
			if err != nil {
				return nil, fault.Stop(fmt.Errorf("mysql: %q is no GTID", one))
			}
			numbers[i] = n
		}
		g := gtid{uint32(numbers[0]), uint32(numbers[1]), numbers[2]} //nolint:gosec // parsed as 32 bits
		all[g.domain] = g
	}
	return all, nil
}

func setOf(all map[uint32]gtid) gtidSet {
	var texts []string
	for _, g := range slices.SortedFunc(maps.Values(all), func(a, b gtid) int { return cmp.Compare(a.domain, b.domain) }) {
		texts = append(texts, g.String())
	}
	return gtidSet(strings.Join(texts, ","))
}

// equal says whether two sets are the same, in whatever order.
func (s gtidSet) equal(other gtidSet) bool {
	a, err1 := parseGTIDs(string(s))
	b, err2 := parseGTIDs(string(other))
	return err1 == nil && err2 == nil && setOf(a) == setOf(b)
}

// parseLogPosition reads what pack wrote.
func parseLogPosition(text record.Position) (p logPosition, err error) {
	if p, err = unpack[logPosition]("the log", text); err == nil {
		_, err = p.number()
	}
	return p, err
}

// number is the version of what begins at the position: the number of the file, and the offset in it. A transaction begins below 4 GiB: the
// server begins another file at 1 GiB at the latest, and does not cut a transaction.
func (p logPosition) number() (uint64, error) { return logNumber(p.File, p.Offset) }

func logNumber(file string, offset uint32) (uint64, error) {
	n, err := strconv.ParseUint(file[strings.LastIndexByte(file, '.')+1:], 10, 32)
	if err != nil {
		return 0, fault.Stop(fmt.Errorf("mysql: %q is no file of the log", file))
	}
	return n<<32 | uint64(offset), nil
}
