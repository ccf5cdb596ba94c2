package postgres_test

import (
	"math/rand/v2"
	"testing"
)

// schedules is how many ways in which writes, polls and reads of a table meet are tried.
const schedules = 40_000

// rule says when the number of a version is drawn, and whether a delete keeps one.
type rule struct {
	pollBefore, readAfter, bareDelete bool
}

// held is what the model's sink has of a key.
type held struct{ version, value int }

// model is a table of two keys, whose values only grow (0: the key is not there), a counter, and a sink that keeps the greatest version.
type model struct {
	rule
	table   [2]int
	changed [2]int // by which write
	writes  int
	counter int
	sink    map[int]held
}

func (m *model) number() int {
	m.counter++
	return m.counter
}

func (m *model) put(key, version, value int) {
	if old, ok := m.sink[key]; ok && old.version >= version {
		return
	}
	if value == 0 && m.bareDelete {
		delete(m.sink, key)
		return
	}
	m.sink[key] = held{version, value}
}

// task is a poll or a read, done in steps that others may come between: number, snapshot, number, delivery.
type task struct {
	poll           bool
	step           int
	version, since int
	seen, changed  [2]int
}

// next does a step; done says that it was the last.
func (m *model) next(k *task, cursor *int) (done bool) {
	early := m.pollBefore
	if !k.poll {
		early = !m.readAfter
	}
	switch k.step {
	case 0:
		if early {
			k.version = m.number()
		}
	case 1:
		k.seen, k.changed, k.since = m.table, m.changed, m.writes
	case 2:
		if !early {
			k.version = m.number()
		}
	default:
		for key, value := range k.seen {
			if !k.poll && value > 0 || k.poll && k.changed[key] > *cursor {
				m.put(key, k.version, value)
			}
		}
		if k.poll {
			*cursor = k.since
		}
		return true
	}
	k.step++
	return false
}

// diverges plays one schedule: a writer, polls one after the other, and two reads side by side.
func (r rule) diverges(rnd *rand.Rand) bool {
	m := &model{rule: r, table: [2]int{1, 1}, sink: map[int]held{}}
	cursor, values := 0, 1
	poll, reads := &task{poll: true}, []*task{{}, {}}
	write := func() {
		key := rnd.IntN(2)
		m.writes++
		m.changed[key] = m.writes
		if values++; rnd.IntN(4) == 0 {
			m.table[key] = 0
			return
		}
		m.table[key] = values
	}
	for range 30 {
		switch rnd.IntN(3) {
		case 0:
			write()
		case 1:
			if m.next(poll, &cursor) {
				poll = &task{poll: true}
			}
		default:
			if i := rnd.IntN(2); m.next(reads[i], nil) {
				reads[i] = &task{}
			}
		}
	}
	for _, k := range []*task{poll, reads[0], reads[1], {poll: true}, {poll: true}} { // all that was begun ends, and polls drain
		for !m.next(k, &cursor) {
		}
	}
	for key, value := range m.table {
		if m.sink[key].value != value {
			return true
		}
	}
	return false
}

// TestNumbersOfVersionsInEverySchedule tries the rule that TestNumbersOfVersions holds the source to, in a model: reads draw their number
// before their snapshot, polls after it, and a delete is kept with its number. Each other choice ends with an old row in the sink.
func TestNumbersOfVersionsInEverySchedule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule
		right bool
	}{
		"as it is":                          {rule{}, true},
		"polls before their snapshot":       {rule{pollBefore: true}, false},
		"reads after their snapshot":        {rule{readAfter: true}, false},
		"both the wrong way round":          {rule{pollBefore: true, readAfter: true}, false},
		"deletes that leave nothing behind": {rule{bareDelete: true}, false},
	} {
		rnd := rand.New(rand.NewPCG(1, 2))
		diverged := 0
		for range schedules {
			if c.diverges(rnd) {
				diverged++
			}
		}
		if c.right != (diverged == 0) {
			t.Errorf("%s: %d of %d schedules end wrong", name, diverged, schedules)
		}
		t.Logf("%s: %d of %d schedules end wrong", name, diverged, schedules)
	}
}
