// Package provision makes on AWS what a project needs, tells how what is there differs from it, and takes it away again. What does not carry
// the project's tag is never changed.
package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Tag is the key of the tag that says whose a resource is; its value is the name of the project.
const Tag = "acequia:managed-by"

// Kind is a kind of resource.
type Kind string

// The kinds.
const (
	KindBucket Kind = "bucket"
	KindTable  Kind = "table"
	KindQueue  Kind = "queue"
	KindBus    Kind = "bus"
	KindRule   Kind = "rule"
	KindRole   Kind = "role"
	KindPipe   Kind = "pipe"
)

// What is made first: what others name has a lower rank.
const (
	rankFirst = iota // buckets, tables, buses, dead-letter queues
	rankQueue
	rankRule // and roles
	rankPipe
)

// thing is one resource. A kind that is to be made too is one more of these, and a line in Open.
type thing interface {
	about() about
	look(ctx context.Context) (*found, error) // nil: it is not there
	create(ctx context.Context) error         // as far as one call can; what is missing then are drifts
	remove(ctx context.Context) error         // with all that it holds
}

// settler is a thing that cannot be used at once when it was made or changed.
type settler interface {
	settle(ctx context.Context) error
}

// about says what a thing is before anybody has looked.
type about struct {
	kind    Kind
	name    string
	region  string
	rank    int
	after   []string // what it cannot be made without, as ids
	is      []string // what it will be, in lines
	refused string   // why it is left to others; "": it is not

	borrowed bool // it is changed where that is needed, and never deleted
}

func (a about) id() string { return string(a.kind) + " " + a.name }

// found is a thing as it is.
type found struct {
	owner  string // the project of its tag; "": it has none
	drifts []drift
	claim  func(ctx context.Context) error           // gives it the tag
	holds  func(ctx context.Context) (string, error) // what would be lost with it; nil: nothing
}

// drift is something that is not as it is needed.
type drift struct {
	what, is, want string
	mend           func(ctx context.Context) error // nil: another's does it too
	why            string                          // why it cannot be changed in place, and what to do; "": it can
}

// Options say what the needs do not.
type Options struct {
	Only     []Kind             // nothing but these; none: all
	Adopt    bool               // resources without a tag become the project's
	TLS      bool               // TLS alone is asked for of a server too that is reached without it
	Tell     func(Progress)     // is told what is waited for; nil: nobody is
	Pause    time.Duration      // between two looks while something is waited for; default 2s
	Patience time.Duration      // how long one thing is waited for; default 30m
	Spread   time.Duration      // how long a role that was made may be unknown elsewhere; default 1m
	Now      func() time.Time   // default time.Now
	At       awsconfig.Settings // of what names none, such as a role
}

// Progress is what is waited for.
type Progress struct {
	Kind  Kind          `json:"kind"`
	Name  string        `json:"name"`
	State string        `json:"state"`
	After time.Duration `json:"-"`
}

// Site is where a project's resources are, or will be.
type Site struct {
	Account string // 12 digits
	Region  string // of what names none
	Project string
	options Options
	things  []thing
	clients map[awsconfig.Settings]*clients
}

// Open finds out who asks, and where. Nothing is looked at yet. Without credentials the error is ACQ-AWS-001.
func Open(ctx context.Context, needs Needs, o Options) (*Site, error) {
	o.Pause, o.Patience = cmp.Or(o.Pause, 2*time.Second), cmp.Or(o.Patience, 30*time.Minute)
	o.Spread = cmp.Or(o.Spread, time.Minute)
	if o.Tell == nil {
		o.Tell = func(Progress) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Site{Project: needs.Project, options: o, clients: map[awsconfig.Settings]*clients{}}
	c, err := s.at(ctx, needs.place())
	if err != nil {
		return nil, err
	}
	s.Account, s.Region = c.account, c.region
	for _, add := range []func(context.Context, Needs) error{s.buckets, s.tables, s.queues, s.buses, s.routes} {
		if err := add(ctx, needs); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if len(o.Only) > 0 {
		s.things = slices.DeleteFunc(s.things, func(t thing) bool { return !slices.Contains(o.Only, t.about().kind) })
	}
	slices.SortStableFunc(s.things, func(a, b thing) int { return cmp.Compare(a.about().rank, b.about().rank) })
	return s, nil
}

// Close lets the connections go.
func (s *Site) Close() error {
	for _, c := range s.clients {
		c.close()
	}
	return nil
}

// add takes a thing in, once: parts may share a bucket, a queue or a table.
func (s *Site) add(t thing) bool {
	a := t.about()
	if slices.ContainsFunc(s.things, func(o thing) bool { return o.about().id() == a.id() && o.about().region == a.region }) {
		return false
	}
	s.things = append(s.things, t)
	return true
}

// Action is what is to be done with a resource, or was.
type Action string

// The actions.
const (
	Create  Action = "create"
	Change  Action = "change"
	Same    Action = "same"
	Blocked Action = "blocked" // it is not as it is needed, and cannot be changed in place
	Delete  Action = "delete"
	Keep    Action = "keep" // it holds data, or is not the project's
)

// Difference is a property that is, or was, not as it is needed.
type Difference struct {
	What string `json:"what"`
	Is   string `json:"is"`
	Want string `json:"want"`
	Why  string `json:"why,omitempty"` // why it cannot be changed in place
}

// Step is one resource.
type Step struct {
	Kind    Kind         `json:"kind"`
	Name    string       `json:"name"`
	Region  string       `json:"region,omitempty"`
	Action  Action       `json:"action"`
	Is      []string     `json:"is,omitempty"` // what will be made
	Changes []Difference `json:"changes,omitempty"`
	Blocked []Difference `json:"blocked,omitempty"`
	Note    string       `json:"note,omitempty"`
	Held    bool         `json:"held,omitempty"` // it is the project's, and is not deleted because of what it holds
	Error   *Failure     `json:"error,omitempty"`
	err     error
}

// Failure is an error with its parts.
type Failure struct {
	Code   string `json:"code,omitempty"`
	Place  string `json:"place,omitempty"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"`
}

// Err is why the step failed; nil: it did not.
func (s *Step) Err() error { return s.err }

func (s *Step) fail(err error) {
	s.err = err
	s.Error = &Failure{Reason: err.Error()}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		s.Error = &Failure{Code: fault.Code(err), Place: e.Place, Reason: fmt.Sprint(e.Err), Remedy: e.Remedy}
	}
}

// Plan looks at all resources, and says what would be done. The error is ctx's; what fails of one resource is in its step.
func (s *Site) Plan(ctx context.Context) ([]Step, error) {
	steps := make([]Step, len(s.things))
	for i, t := range s.things {
		steps[i] = s.compare(ctx, t)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return steps, nil
}

// compare says what is to be done with a thing.
func (s *Site) compare(ctx context.Context, t thing) Step {
	a := t.about()
	step := Step{Kind: a.kind, Name: a.name, Region: a.region, Action: Same}
	if a.refused != "" {
		step.Action, step.Note = Blocked, a.refused
		return step
	}
	f, err := t.look(ctx)
	switch {
	case err != nil:
		step.fail(err)
		return step
	case f == nil:
		step.Action, step.Is = Create, a.is
		return step
	}
	ours := f.owner == s.Project
	if !ours && s.options.Adopt && f.owner == "" {
		ours = true
		step.Action, step.Changes = Change, []Difference{{What: "tag " + Tag, Is: "none", Want: s.Project}}
	}
	for _, d := range f.drifts {
		one := Difference{What: d.what, Is: d.is, Want: d.want, Why: d.why}
		switch {
		case !ours:
			step.Action, step.Blocked = Blocked, append(step.Blocked, one)
			if step.Blocked[len(step.Blocked)-1].Why = s.foreign(f.owner); d.why != "" {
				step.Blocked[len(step.Blocked)-1].Why = d.why + "; and " + s.whose(f.owner)
			}
		case d.why != "":
			step.Blocked = append(step.Blocked, one)
		default:
			step.Action, step.Changes = Change, append(step.Changes, one)
		}
	}
	if len(step.Changes) == 0 && len(step.Blocked) > 0 {
		step.Action = Blocked
	}
	if !ours && step.Action == Same {
		step.Note = "it is as it is needed, and " + s.whose(f.owner) + ": it is left to who made it"
	}
	return step
}

// whose says whose a resource is that is not the project's.
func (s *Site) whose(owner string) string {
	if owner == "" {
		return "it has no tag " + Tag
	}
	return "its tag " + Tag + " says " + owner
}

func (s *Site) foreign(owner string) string {
	if owner == "" {
		return s.whose(owner) + ": --adopt makes it this project's, so that it is changed"
	}
	return s.whose(owner) + ": that project's configuration has to ask for it"
}

// Apply makes and changes what is not as it is needed, and deletes nothing. What fails does not keep the rest from being made, but for what cannot be
// without it. each is told of every step when it is done; the error is ctx's.
func (s *Site) Apply(ctx context.Context, each func(Step)) ([]Step, error) {
	steps := make([]Step, len(s.things))
	for from := 0; from < len(s.things); {
		to := from
		for to < len(s.things) && s.things[to].about().rank == s.things[from].about().rank {
			steps[to] = s.begin(ctx, s.things[to], steps[:from])
			to++
		}
		for i := from; i < to; i++ {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.finish(ctx, s.things[i], &steps[i])
			each(steps[i])
		}
		from = to
	}
	return steps, ctx.Err()
}

// begin makes what is not there. Tables take a while, and so are all begun before the first is waited for.
func (s *Site) begin(ctx context.Context, t thing, before []Step) Step {
	step := s.compare(ctx, t)
	if step.err != nil || step.Action != Create {
		return step
	}
	a := t.about()
	for _, b := range before {
		if slices.Contains(a.after, string(b.Kind)+" "+b.Name) && (b.err != nil || b.Action == Blocked && b.Note != "") {
			step.fail(&fault.Error{
				Code: "ACQ-SETUP-004", Place: a.id(), Err: fmt.Errorf("it cannot be made without %s %s", b.Kind, b.Name), Remedy: "mend that, and apply again",
			})
			return step
		}
	}
	if err := t.create(ctx); err != nil {
		step.fail(err)
	}
	return step
}

// finish waits until the thing can be used, and mends what is not as it is needed.
func (s *Site) finish(ctx context.Context, t thing, step *Step) {
	if step.err != nil || step.Action != Create && step.Action != Change {
		return
	}
	if w, ok := t.(settler); ok {
		if err := w.settle(ctx); err != nil {
			step.fail(err)
			return
		}
	}
	f, err := s.own(ctx, t, step.Action)
	if err != nil {
		step.fail(err)
		return
	}
	var errs []error
	for _, d := range f.drifts {
		if d.mend != nil && d.why == "" {
			errs = append(errs, d.mend(ctx))
		}
	}
	if err := errors.Join(errs...); err != nil {
		step.fail(firstFault(errs))
	}
}

// own looks at a thing that was made, or that is to be changed, which may have to be adopted.
func (s *Site) own(ctx context.Context, t thing, action Action) (*found, error) {
	if action == Create {
		return s.appeared(ctx, t)
	}
	f, err := t.look(ctx)
	switch {
	case err != nil:
		return nil, err
	case f == nil || f.owner != "" && f.owner != s.Project:
		return nil, &fault.Error{Code: "ACQ-SETUP-009", Place: t.about().id(), Err: errors.New("somebody else has deleted it, or made it theirs, meanwhile"), Remedy: "plan again"}
	case f.owner == "":
		return f, f.claim(ctx)
	}
	return f, nil
}

// firstFault gives the first of several errors, which has a code.
func firstFault(errs []error) error {
	return errs[slices.IndexFunc(errs, func(err error) bool { return err != nil })]
}

// Count says how many steps have an action; those that failed are not among them.
func Count(steps []Step, actions ...Action) (n int) {
	for _, s := range steps {
		if s.err == nil && slices.Contains(actions, s.Action) {
			n++
		}
	}
	return n
}

// Failed says how many steps have failed.
func Failed(steps []Step) (n int) {
	for _, s := range steps {
		if s.err != nil {
			n++
		}
	}
	return n
}

// names joins words for people.
func names(words ...string) string { return strings.Join(words, ", ") }
