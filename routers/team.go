package routers

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// Leases are what a team shares its work by: *checkpoint.Leases has them.
type Leases interface {
	Look(ctx context.Context) ([]checkpoint.Lease, error)
	Take(ctx context.Context, key string, seen *checkpoint.Lease) (bool, error)
	Want(ctx context.Context, key string) error
	Release(ctx context.Context, keys ...string) error
}

var _ Leases = (*checkpoint.Leases)(nil)

// TeamOptions are what a process needs to share work with others on the same state.
type TeamOptions struct {
	Leases Leases
	Owner  string // the name of this process in the leases
	Log    *slog.Logger
	Every  time.Duration // how often leases are renewed and looked at; default 1 s
	Expire time.Duration // how long a lease that is not renewed is left alone, by the clock of who watches it; default 8 s
	// Orphan is told of a lease that was kept (see Keep) by a process that is gone, before it goes; nil: nobody is.
	Orphan func(ctx context.Context, key string) error
}

// Team is this process among those that share lanes, pipelines and chores by leases. Each has a share of about the same size; the work
// of one that has died, or stands still, is taken over by the others.
type Team struct {
	TeamOptions
	poke   chan struct{} // a slot has nothing to do
	cancel context.CancelFunc
	over   chan struct{}

	mu      sync.Mutex
	seen    map[string]sighting // by key: the leases of others, and of this process
	looked  time.Time           // when it was last looked, on this clock
	renewed time.Time           // until when, plus Expire, the leases of this process are its own
	holds   map[string]*hold    // by key
	parties []*party
	kept    map[string]*keeping  // leases of chores and jobs
	dropped map[string]time.Time // by key: given up, and when; zero: not yet
	freed   map[string]time.Time // by key: since when nobody has what somebody could
}

// sighting is a lease as it stands, and since when.
type sighting struct {
	checkpoint.Lease
	since time.Time // on this process's clock
}

// hold is a lease that this process has.
type hold struct {
	key    string
	id     string // of the lane, as the state names it
	taken  time.Time
	spare  bool          // others had left it: it is more than this process's share
	leave  chan struct{} // closed: end the work in order, others are to have it
	lost   chan struct{} // closed: it is another's
	fenced bool          // a write of the state was: of who does the work
	back   bool          // the lane was given back: of who does the work
}

// gone says that another process goes on with the work, or may.
func (h *hold) gone() bool { return h.fenced || isClosed(h.leave) || isClosed(h.lost) }

// party is a run or a pipeline that takes part in the team's work.
type party struct {
	member string         // key of the lease that says so
	shares func() []share // what there is to do now
	given  func(h *hold)  // told of what this process may do from now on
}

// share is work of one kind, of which each member of a party has about as much.
type share struct {
	pieces []piece // all that may go on now, in their order
	room   int     // how much more of it this process can do; -1: any
	each   bool    // every process has a piece of its own: key and id are completed by a number
}

// piece is what one process does at a time.
type piece struct {
	key, id string
	wanted  bool // a job waits for it: it is asked of who has it
}

// OpenTeam begins to renew and look. Close ends it.
func OpenTeam(ctx context.Context, o TeamOptions) *Team {
	o.Every, o.Expire = cmp.Or(o.Every, time.Second), cmp.Or(o.Expire, 8*time.Second)
	t := &Team{
		TeamOptions: o, poke: make(chan struct{}, 1), over: make(chan struct{}), seen: map[string]sighting{}, holds: map[string]*hold{},
		kept: map[string]*keeping{}, freed: map[string]time.Time{}, dropped: map[string]time.Time{},
	}
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go t.serve(ctx)
	return t
}

// Close gives all leases up at once, with those of processes that are gone. Nothing that they are of may go on. What cannot be given up,
// because this process stood still or the state is not there, others take over when it has expired: the work is no worse for it.
func (t *Team) Close(ctx context.Context) {
	t.cancel()
	<-t.over
	if err := t.giveUp(ctx); err != nil {
		t.Log.WarnContext(ctx, "leases are not given up, others take them over when they have expired", errAttr(err))
	}
}

func (t *Team) giveUp(ctx context.Context) error {
	ctx, cancel := t.lasting(ctx)
	defer cancel()
	rows, err := t.Leases.Look(ctx)
	if err != nil {
		return err
	}
	t.learn(rows, time.Now())
	var mine []string
	var dead []checkpoint.Lease // such as those of lanes that had ended when their process died: nobody else takes them
	t.mu.Lock()
	for _, r := range rows {
		if _, alive := t.alive(r.Key, time.Now()); !alive && !strings.HasPrefix(r.Key, JobPrefix) {
			dead = append(dead, r)
		} else if r.Owner == t.Owner {
			mine = append(mine, r.Key)
		}
	}
	t.mu.Unlock()
	for _, r := range dead {
		if taken, err := t.Leases.Take(ctx, r.Key, &r); err != nil {
			return err
		} else if taken {
			mine = append(mine, r.Key)
		}
	}
	return t.Leases.Release(ctx, mine...)
}

func (t *Team) serve(ctx context.Context) {
	defer close(t.over)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // when it was looked
	for {
		select {
		case <-timer.C:
			timer.Reset(t.Every)
		case <-t.poke:
			if since := time.Since(last); since < t.Every/nudges { // not at once: nobody may keep the state busy
				timer.Reset(t.Every/nudges - since)
				continue
			}
		case <-ctx.Done():
			return
		}
		last = time.Now()
		t.round(ctx)
	}
}

// nudges is how often it may be looked in the time between two renewals.
const nudges = 20

// nudge has it looked for work at once.
func (t *Team) nudge() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

// round renews, looks, and takes or gives up what is due.
func (t *Team) round(ctx context.Context) {
	began := time.Now()
	looking, cancel := context.WithTimeout(ctx, t.Expire)
	rows, err := t.Leases.Look(looking)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			t.Log.WarnContext(ctx, "leases cannot be renewed", errAttr(err))
			t.expire()
		}
		return
	}
	t.learn(rows, began)
	plan := t.plan(began)
	for _, one := range plan.adopted {
		t.give(one)
	}
	// What is written outlives the end of the team: a lease whose taking is cut off may yet be taken, after Close has looked.
	asked, cancel := t.lasting(ctx)
	defer cancel()
	if strays := t.strays(); len(strays) > 0 {
		t.complain(ctx, "cannot be given up", t.Leases.Release(asked, strays...))
	}
	for _, key := range plan.wants {
		t.complain(ctx, "cannot be asked for", t.Leases.Want(asked, key))
	}
	for _, one := range plan.orphans {
		if t.Orphan != nil && !strings.HasPrefix(one.Key, memberPrefix) {
			if err := t.Orphan(asked, one.Key); err != nil {
				t.complain(ctx, "cannot end what was left", err)
				continue
			}
		}
		_, err := t.Leases.Take(asked, one.Key, &one) // the next round gives it up
		t.complain(ctx, "cannot be taken", err)
	}
	for _, one := range plan.takes {
		mine, err := t.Leases.Take(asked, one.hold.key, one.seen)
		t.complain(ctx, "cannot be taken", err)
		if mine {
			t.give(one)
		}
	}
}

// lasting is for what has to be known when the team ends.
func (t *Team) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), t.Expire)
}

func (t *Team) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		t.Log.WarnContext(ctx, "a lease is not as it should be", slog.String("what", what), errAttr(err))
	}
}

// expire ends all work when this process could not renew for so long that others may have taken it over.
func (t *Team) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.renewed) < t.Expire {
		return
	}
	for _, h := range t.holds {
		t.lose(h)
	}
	for key := range t.kept {
		t.unkeep(key)
	}
}

// lose ends work whose lease is another's; the caller holds the lock.
func (t *Team) lose(h *hold) {
	if !isClosed(h.lost) {
		close(h.lost)
	}
	delete(t.holds, h.key)
}

// learn takes in what the leases are.
func (t *Team) learn(rows []checkpoint.Lease, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A time in which nobody looked says nothing about the others: this process stood still, or the state could not be reached.
	gap := began.Sub(t.looked)
	if t.looked.IsZero() || gap < t.Expire/2 {
		gap = 0
	}
	t.looked, t.renewed = began, began
	now := make(map[string]sighting, len(rows))
	for _, r := range rows {
		if gone, ok := t.dropped[r.Key]; ok && r.Owner == t.Owner && (gone.IsZero() || !gone.Before(began)) {
			continue // it is being given up, and was seen just before
		}
		s, ok := t.seen[r.Key]
		if !ok || s.Owner != r.Owner || s.Epoch != r.Epoch || s.Counter != r.Counter {
			s.since = began
		} else {
			s.since = s.since.Add(gap)
		}
		s.Lease = r
		now[r.Key] = s
	}
	t.seen = now
	maps.DeleteFunc(t.dropped, func(_ string, gone time.Time) bool { return !gone.IsZero() && gone.Before(began) })
	for key, h := range t.holds {
		if now[key].Owner != t.Owner {
			t.lose(h)
		} else if w := now[key].Wanted; w != "" && w != t.Owner && !isClosed(h.leave) {
			close(h.leave)
		}
	}
	for key, k := range t.kept {
		if now[key].Owner != t.Owner && k.since.Before(began) { // else it was taken while it was looked
			t.unkeep(key)
		}
	}
}

// strays gives the leases that are this process's, and of no use to it.
func (t *Team) strays() (keys []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, s := range t.seen {
		if s.Owner == t.Owner && t.holds[key] == nil && t.kept[key] == nil && !t.isMember(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (t *Team) isMember(key string) bool {
	return slices.ContainsFunc(t.parties, func(p *party) bool { return p.member == key })
}

// alive says whether somebody has the lease and moves it; the caller holds the lock.
func (t *Team) alive(key string, now time.Time) (owner string, ok bool) {
	s, ok := t.seen[key]
	return s.Owner, ok && (s.Owner == t.Owner || now.Sub(s.since) < t.Expire)
}

// members gives the living members of a party, this process among them.
func (t *Team) members(p *party, now time.Time) (owners []string) {
	prefix := p.member[:strings.LastIndexByte(p.member, '/')+1]
	owners = []string{t.Owner}
	for key := range t.seen {
		if owner, ok := t.alive(key, now); ok && strings.HasPrefix(key, prefix) && owner != t.Owner {
			owners = append(owners, owner)
		}
	}
	return owners
}

// give hands a lease that was taken to the party that wanted it.
func (t *Team) give(one take) {
	t.mu.Lock()
	if one.party == nil || !slices.Contains(t.parties, one.party) { // a membership, or a run that has ended meanwhile: the next round gives it up
		t.mu.Unlock()
		return
	}
	t.holds[one.hold.key] = one.hold
	t.seen[one.hold.key] = sighting{Lease: checkpoint.Lease{Key: one.hold.key, Owner: t.Owner}, since: time.Now()}
	t.mu.Unlock()
	one.party.given(one.hold)
}

// drop gives a lease up when its work has ended.
func (t *Team) drop(ctx context.Context, h *hold) {
	t.mu.Lock()
	mine := t.holds[h.key] == h
	t.mu.Unlock()
	if mine {
		t.release(ctx, h.key)
	}
}

// release gives a lease up.
func (t *Team) release(ctx context.Context, key string) {
	t.mu.Lock()
	delete(t.holds, key)
	t.unkeep(key)
	delete(t.seen, key)
	t.dropped[key] = time.Time{}
	t.mu.Unlock()
	ctx, cancel := t.lasting(ctx)
	defer cancel()
	t.complain(ctx, "cannot be given up", t.Leases.Release(ctx, key)) // the next round tries again
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped[key] = time.Now()
}

// join adds a party; leave takes it out.
func (t *Team) join(p *party) {
	t.mu.Lock()
	t.parties = append(t.parties, p)
	t.mu.Unlock()
	t.nudge()
}

func (t *Team) leave(p *party) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parties = slices.DeleteFunc(t.parties, func(x *party) bool { return x == p })
	t.nudge()
}

// Holder names the process that has a lease, as it was last seen; "": none has.
func (t *Team) Holder(key string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	owner, _ := t.alive(key, time.Now())
	return owner
}
