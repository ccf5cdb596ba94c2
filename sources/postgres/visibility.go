package postgres

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// visible is what a moment of the server saw: a pg_snapshot, written XMIN:XMAX:XIP, as the manual's table "Snapshot Components"
// says it. Transactions below xmin had ended, those from xmax on had not begun, those of xip, between the two, were under way. Only
// transactions are listed, no savepoints of theirs.
type visible struct {
	xmin, xmax uint64
	xip        []uint64 // ascends
}

// parseVisible reads the server's text.
func parseVisible(text string) (visible, error) {
	var v visible
	parts := strings.Split(text, ":")
	wrong := fmt.Errorf("%q is no snapshot of PostgreSQL", text)
	if len(parts) != 3 {
		return v, wrong
	}
	var err1, err2 error
	v.xmin, err1 = strconv.ParseUint(parts[0], 10, 64)
	v.xmax, err2 = strconv.ParseUint(parts[1], 10, 64)
	if err1 != nil || err2 != nil || v.xmin > v.xmax {
		return v, wrong
	}
	if parts[2] == "" {
		return v, nil
	}
	for text := range strings.SplitSeq(parts[2], ",") {
		x, err := strconv.ParseUint(text, 10, 64)
		if err != nil || x < v.xmin || x >= v.xmax {
			return v, wrong
		}
		v.xip = append(v.xip, x)
	}
	slices.Sort(v.xip)
	return v, nil
}

// String writes it as the server reads it.
func (v visible) String() string {
	return strconv.FormatUint(v.xmin, 10) + ":" + strconv.FormatUint(v.xmax, 10) + ":" + joinXIDs(v.xip)
}

func joinXIDs(xids []uint64) string {
	texts := make([]string, len(xids))
	for i, x := range xids {
		texts[i] = strconv.FormatUint(x, 10)
	}
	return strings.Join(texts, ",")
}

// sees says whether a transaction had ended.
func (v visible) sees(xid uint64) bool {
	if xid < v.xmin {
		return true
	}
	_, running := slices.BinarySearch(v.xip, xid)
	return xid < v.xmax && !running
}

// covers says whether all that a moment saw is seen too.
func (v visible) covers(m visible) bool {
	return v.xmax >= m.xmax && !slices.ContainsFunc(v.xip, m.sees)
}

// late gives the transactions that before saw under way, and that have ended in v. What is visible in v and was not in before is
// theirs, and that of the transactions from before.xmax to v.xmax without v.xip.
func (v visible) late(before visible) []uint64 {
	var out []uint64
	for _, x := range before.xip {
		if v.sees(x) {
			out = append(out, x)
		}
	}
	return out
}

// floor gives a moment that saw only what had ended whatever else was under way. A standby's snapshots list no transactions that
// are under way (procarray.c, GetSnapshotData: in recovery they are in subxip, which pg_current_snapshot leaves out), and the xmin of
// a row may be that of a savepoint, which no snapshot lists: below xmin both are right.
func (v visible) floor() visible { return visible{xmin: v.xmin, xmax: v.xmin} }
