package postgres

import (
	"testing"

	"pgregory.net/rapid"
)

func drawVisible(t *rapid.T, name string) visible {
	xmin := rapid.Uint64Range(3, 20).Draw(t, name+" xmin")
	v := visible{xmin: xmin, xmax: xmin + rapid.Uint64Range(0, 20).Draw(t, name+" width")}
	for x := v.xmin; x < v.xmax; x++ {
		if x == v.xmin || rapid.Bool().Draw(t, name+" runs") {
			v.xip = append(v.xip, x)
		}
	}
	return v
}

// What is late and what is in the range between two moments is all that the later one sees and the earlier one did not.
func TestVisible(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, now := drawVisible(t, "before"), drawVisible(t, "now")
		again, err := parseVisible(now.String())
		if err != nil || again.String() != now.String() {
			t.Fatalf("%s was read as %s: %v", now, again, err)
		}
		if all := !now.seesMore(before); before.covers(now) && !all {
			t.Fatalf("%s covers %s", before, now)
		}
		late := map[uint64]bool{}
		for _, x := range now.late(before) {
			late[x] = true
		}
		for x := range uint64(64) {
			given := late[x] || x >= before.xmax && now.sees(x)
			isNew := now.sees(x) && !before.sees(x)
			if given != isNew {
				t.Fatalf("transaction %d: given %v, new %v, before %s, now %s", x, given, isNew, before, now)
			}
			if now.floor().sees(x) && !now.sees(x) {
				t.Fatalf("the floor of %s sees %d", now, x)
			}
		}
	})
}

// seesMore says whether a moment saw a transaction that another did not.
func (v visible) seesMore(than visible) bool {
	for x := range uint64(64) {
		if v.sees(x) && !than.sees(x) {
			return true
		}
	}
	return false
}

func TestVisibleRefusesOtherText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1:2", "a:2:", "1:b:", "5:4:", "1:5:0", "1:5:5", "1:5:2,x", "-1:5:"} {
		if v, err := parseVisible(text); err == nil {
			t.Errorf("%q was read as %s", text, v)
		}
	}
}
