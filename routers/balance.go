package routers

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// spareFor is how long a process keeps what the others had left lying, before it is part of the balance again.
const spareFor = time.Minute

// take is a lease that is to be taken.
type take struct {
	party *party // nil: it says that this process is there
	hold  *hold
	seen  *checkpoint.Lease // who has it, and does not move it; nil: nobody
}

// plan is what a round is to do.
type plan struct {
	takes   []take
	adopted []take // they are this process's: others have handed them over, or they outlived what this process lost
	wants   []string
	orphans []checkpoint.Lease // of processes that are gone: that they were there, and what they kept
}

// plan finds out what this process should have more of, and asks it to leave what it has too much of.
func (t *Team) plan(now time.Time) (out plan) {
	t.mu.Lock()
	parties := slices.Clone(t.parties)
	t.mu.Unlock()
	shares := make([][]share, len(parties))
	for i, p := range parties {
		shares[i] = p.shares() // outside the lock: it has one of its own
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, s := range t.seen {
		gone := strings.HasPrefix(key, memberPrefix) || strings.HasPrefix(key, JobPrefix) || now.Sub(s.since) > 4*t.Expire // who wants it has it by then
		if _, alive := t.alive(key, now); !alive && gone {
			out.orphans = append(out.orphans, s.Lease)
		}
	}
	free := map[string]time.Time{}
	for i, p := range parties {
		if _, ok := t.seen[p.member]; !ok {
			out.takes = append(out.takes, take{hold: &hold{key: p.member}})
		}
		members := t.members(p, now)
		for _, s := range shares[i] {
			if s.each {
				t.own(p, s, now, &out)
				continue
			}
			t.balance(p, s, members, now, free, &out)
		}
	}
	t.freed = free
	return out
}

func (t *Team) newTake(p *party, one piece, now time.Time, spare bool) take {
	h := &hold{key: one.key, id: one.id, taken: now, spare: spare, leave: make(chan struct{}), lost: make(chan struct{})}
	out := take{party: p, hold: h}
	if s, ok := t.seen[one.key]; ok {
		out.seen = &s.Lease
	}
	return out
}

func (t *Team) adopt(p *party, one piece, now time.Time, out *plan) *hold {
	next := t.newTake(p, one, now, false)
	out.adopted = append(out.adopted, next)
	return next.hold
}

// own takes the first piece that nobody has, when this process has none.
func (t *Team) own(p *party, s share, now time.Time, out *plan) {
	for _, one := range s.pieces {
		has := false
		for key := range t.holds {
			has = has || strings.HasPrefix(key, one.key+"~")
		}
		for n := 0; !has; n++ {
			numbered := piece{key: fmt.Sprintf("%s~%d", one.key, n), id: fmt.Sprintf("%s~%d", one.id, n)}
			if _, alive := t.alive(numbered.key, now); !alive {
				out.takes = append(out.takes, t.newTake(p, numbered, now, false))
				has = true
			}
		}
	}
}

// balance takes free pieces up to this process's share, and leaves those beyond it.
func (t *Team) balance(p *party, s share, members []string, now time.Time, free map[string]time.Time, out *plan) {
	var mine []*hold
	var idle []piece
	load := map[string]int{}
	room := s.room
	for _, one := range s.pieces {
		h := t.holds[one.key]
		owner, alive := t.alive(one.key, now)
		switch {
		case h != nil && !isClosed(h.leave):
			mine = append(mine, h)
		case h != nil: // it is being left
			load[t.Owner+" leaves"]++
		case alive && owner != t.Owner:
			if load[owner]++; one.wanted {
				out.wants = append(out.wants, one.key)
			}
		case alive: // this process's, and nobody's here
			if room != 0 {
				mine = append(mine, t.adopt(p, one, now, out))
				room--
			}
		default:
			idle = append(idle, one)
			free[one.key] = now
			if since, ok := t.freed[one.key]; ok {
				free[one.key] = since
			}
		}
	}
	target := (len(s.pieces) + len(members) - 1) / len(members)
	takes, least := 0, len(s.pieces)
	for _, m := range members {
		if m != t.Owner {
			least = min(least, load[m])
		}
	}
	for _, one := range t.turned(idle) {
		// What is left over when all have the same goes to who has least: else who has just left a piece would take it again.
		has := len(mine) + takes
		spare := (has >= target || has >= len(s.pieces)/len(members) && has > least) && !one.wanted
		if room == 0 || spare && now.Sub(free[one.key]) < t.Expire {
			continue
		}
		out.takes = append(out.takes, t.newTake(p, one, now, spare))
		takes, room = takes+1, room-1
	}
	if takes == 0 {
		t.shed(mine, target, members, load, len(idle) == 0, now)
	}
}

// shed leaves what is beyond the share; and one piece more when all are taken, and another process has two less.
func (t *Team) shed(mine []*hold, target int, members []string, load map[string]int, full bool, now time.Time) {
	beyond := len(mine) - target
	if beyond <= 0 && full && len(load) >= 0 {
		least, most := len(mine), true
		for _, m := range members {
			if m == t.Owner {
				continue
			}
			least = min(least, load[m])
			most = most && (load[m] < len(mine) || load[m] == len(mine) && t.Owner < m)
		}
		if most && len(mine)-least >= 2 && load[t.Owner+" leaves"] == 0 {
			beyond = 1
		}
	}
	slices.SortFunc(mine, func(a, b *hold) int { return b.taken.Compare(a.taken) }) // the newest first
	for _, h := range mine {
		if beyond <= 0 {
			return
		}
		if h.spare && now.Sub(h.taken) < spareFor {
			continue
		}
		close(h.leave)
		beyond--
	}
}

// turned gives pieces in an order of this process's own, so that several that begin together do not want the same first.
func (t *Team) turned(all []piece) []piece {
	if len(all) == 0 {
		return nil
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Owner))
	at := int(h.Sum32()) % len(all)
	return slices.Concat(all[at:], all[:at])
}
