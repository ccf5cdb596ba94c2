package dedupe

// slot is a key, when it was seen, and by which lane.
type slot struct {
	key  key
	at   int64
	lane int32
	used bool
}

const slotLen = 32 // bytes of a slot

// table holds keys in 256 parts. The slots of a part are in the order of their keys, with gaps between: a key stands at the place that
// its bits name or behind it, and no gap is between the two. So the part is copied from front to back when it grows, and what is too
// old goes on the way; and of keys that are not there few slots are looked at, even when four in five are taken.
type table struct {
	parts [256]part
	keys  int
	slots int
}

type part struct {
	slots  []slot // more than places, where the last keys are pushed behind the end
	keys   int
	places int
}

// place is where the bits behind the first eight, which name the part, put a key.
func (p *part) place(k key) int {
	return int(uint64(uint32(k.hi>>24)) * uint64(p.places) >> 32) //nolint:gosec // below places
}

// find gives the slot of a key, or the one where it is to be.
func (p *part) find(k key) (at int, ok bool) {
	at = p.place(k)
	for at < len(p.slots) {
		s := &p.slots[at]
		if !s.used {
			return at, false
		}
		if !s.key.less(k) {
			return at, s.key == k
		}
		at++
	}
	return at, false
}

// get gives the slot of a key, until the table changes; nil: there is none.
func (t *table) get(k key) *slot {
	p := &t.parts[k.part()]
	if at, ok := p.find(k); ok {
		return &p.slots[at]
	}
	return nil
}

// put sets what is known of a key. When its part is full, slots that are not to be kept go.
func (t *table) put(s slot, keep func(*slot) bool) {
	p := &t.parts[s.key.part()]
	at, ok := p.find(s.key)
	if ok {
		p.slots[at] = s
		return
	}
	if 5*(p.keys+1) > 4*p.places {
		t.rebuild(p, keep)
		at, _ = p.find(s.key)
	}
	gap := at
	for gap < len(p.slots) && p.slots[gap].used {
		gap++
	}
	if gap == len(p.slots) {
		t.slots -= cap(p.slots)
		p.slots = append(p.slots, slot{})
		t.slots += cap(p.slots)
	}
	copy(p.slots[at+1:gap+1], p.slots[at:gap])
	p.slots[at] = s
	p.keys++
	t.keys++
}

// remove takes a key out, and moves those behind it nearer to their places.
func (t *table) remove(k key) {
	p := &t.parts[k.part()]
	at, ok := p.find(k)
	if !ok {
		return
	}
	next := at + 1
	for ; next < len(p.slots) && p.slots[next].used && p.place(p.slots[next].key) < next; next++ {
		p.slots[next-1] = p.slots[next]
	}
	p.slots[next-1] = slot{}
	p.keys--
	t.keys--
}

// keep takes out all slots that are not to be kept.
func (t *table) keep(keep func(*slot) bool) {
	for i := range t.parts {
		if t.parts[i].keys > 0 {
			t.rebuild(&t.parts[i], keep)
		}
	}
}

// rebuild copies what is to be kept into slots of which three in five are taken then.
func (t *table) rebuild(p *part, keep func(*slot) bool) {
	old, before := p.slots, p.keys
	p.keys = 0
	for i := range old {
		if old[i].used && !keep(&old[i]) {
			old[i].used = false
		}
		if old[i].used {
			p.keys++
		}
	}
	p.places = 8 + p.keys*5/3
	t.slots -= cap(old)
	p.slots = make([]slot, p.places, p.places+4)
	next := 0
	for i := range old {
		if !old[i].used {
			continue
		}
		if next = max(next, p.place(old[i].key)); next == len(p.slots) {
			p.slots = append(p.slots, slot{})
		}
		p.slots[next] = old[i]
		next++
	}
	t.slots += cap(p.slots)
	t.keys += p.keys - before
}

// warm looks at the places of keys: the processor fetches many at a time, where look-ups one after the other would each wait.
func (t *table) warm(digests []digest) (sum uint64) {
	for i := range digests {
		k := digests[i].key
		if p := &t.parts[k.part()]; p.places > 0 {
			sum += p.slots[p.place(k)].key.lo
		}
	}
	return sum
}
