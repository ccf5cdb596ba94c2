package routers

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// Whole shares pipelines out whose lanes one process reads: their sources remember more than positions, or their steps what they
// saw. A process has all of such a pipeline, or nothing.
type Whole struct {
	team  *Team
	party *party

	mu      sync.Mutex
	asked   []string          // the pipelines that this process would run, in the order in which it asked
	wanted  map[string]int    // how many jobs wait for each
	grants  map[string]*Grant // by pipeline
	assists map[string]bool   // by pipeline: this process reads lanes of it that another one offers
	changed chan struct{}     // closed and replaced at each grant
}

// Grant is the right to run a pipeline.
type Grant struct {
	Pipeline string
	whole    *Whole
	hold     *hold
	users    int // under the lock of whole
}

// NewWhole takes part in the team's sharing of pipelines. Leave ends it.
func NewWhole(t *Team) *Whole {
	w := &Whole{team: t, wanted: map[string]int{}, grants: map[string]*Grant{}, assists: map[string]bool{}, changed: make(chan struct{})}
	w.party = &party{member: memberKey("", t.Owner), shares: w.shares, given: w.given}
	t.join(w.party)
	return w
}

// Leave takes no part any more. All grants are done.
func (w *Whole) Leave() { w.team.leave(w.party) }

func (w *Whole) shares() []share {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := share{room: -1}
	for _, p := range w.asked {
		all.pieces = append(all.pieces, piece{key: checkpoint.PipelineLease(p), id: p, wanted: w.wanted[p] > 0})
	}
	return []share{all}
}

func (w *Whole) given(h *hold) {
	w.mu.Lock()
	if !slices.Contains(w.asked, h.id) {
		w.mu.Unlock()
		w.team.drop(context.Background(), h)
		return
	}
	defer w.mu.Unlock()
	w.grants[h.id] = &Grant{Pipeline: h.id, whole: w, hold: h}
	close(w.changed)
	w.changed = make(chan struct{})
}

// Take waits until this process may run a pipeline; Done ends that. For a job, who has it is asked to leave it. false: ctx has ended.
func (w *Whole) Take(ctx context.Context, pipeline string, job bool) (*Grant, bool) {
	w.mu.Lock()
	if !slices.Contains(w.asked, pipeline) {
		w.asked = append(w.asked, pipeline)
	}
	if job {
		w.wanted[pipeline]++
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.wanted[pipeline]--
		}()
	}
	w.mu.Unlock()
	w.team.nudge()
	for {
		w.mu.Lock()
		g, changed := w.grants[pipeline], w.changed
		usable := g != nil && (!g.hold.gone() || job && !isClosed(g.hold.lost))
		if usable && !w.assists[pipeline] {
			g.users++
			w.mu.Unlock()
			return g, true
		}
		if g != nil && !usable && g.users == 0 { // it was to be left before anybody used it
			delete(w.grants, pipeline)
			w.mu.Unlock()
			w.team.drop(ctx, g.hold)
			continue
		}
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			w.forget(context.WithoutCancel(ctx), pipeline)
			return nil, false
		}
	}
}

// forget gives a pipeline up that nobody here uses.
func (w *Whole) forget(ctx context.Context, pipeline string) {
	w.mu.Lock()
	g := w.grants[pipeline]
	if g != nil && g.users > 0 {
		w.mu.Unlock()
		return
	}
	delete(w.grants, pipeline)
	w.asked = slices.DeleteFunc(w.asked, func(p string) bool { return p == pipeline })
	w.mu.Unlock()
	if g != nil {
		w.team.drop(ctx, g.hold)
	}
}

// Left is closed when another process is to have the pipeline.
func (g *Grant) Left() <-chan struct{} { return g.hold.leave }

// Lost is closed when another process has it.
func (g *Grant) Lost() <-chan struct{} { return g.hold.lost }

// Gone says that either is.
func (g *Grant) Gone() bool { return g.hold.gone() }

// Done gives the pipeline up when nothing here uses it any more.
func (g *Grant) Done(ctx context.Context) {
	w := g.whole
	w.mu.Lock()
	g.users--
	last := g.users == 0
	if last && w.grants[g.Pipeline] == g { // who goes on asks anew
		delete(w.grants, g.Pipeline)
		w.asked = slices.DeleteFunc(w.asked, func(p string) bool { return p == g.Pipeline })
	}
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if last {
		w.team.drop(ctx, g.hold)
	}
}

// Holder names the process that has a pipeline, if it is another.
func (w *Whole) Holder(pipeline string) string {
	if owner := w.team.Holder(checkpoint.PipelineLease(pipeline)); owner != w.team.Owner {
		return owner
	}
	return ""
}

// Assist has this process read lanes of a pipeline that another one has, until done is called. While it does Take waits: who finds with
// Holder that the pipeline is no other's any more ends it. false: no other process has it, or the lanes are read already.
func (w *Whole) Assist(pipeline string) (done func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.assists[pipeline] || w.Holder(pipeline) == "" {
		return nil, false
	}
	w.assists[pipeline] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.assists, pipeline)
		close(w.changed)
		w.changed = make(chan struct{})
	}, true
}

// IsRead says whether lanes of a pipeline are read under leases of their own.
func (t *Team) IsRead(pipeline string) bool {
	prefix := checkpoint.LaneLease(checkpoint.Lane{Pipeline: pipeline})
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.seen {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
