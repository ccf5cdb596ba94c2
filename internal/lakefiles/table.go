package lakefiles

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

// The points of a swap and of what follows, in their order: Table.Probe is called there.
const (
	BeforePending = "before-pending"
	AfterPending  = "after-pending"
	AfterPublish  = "after-publish"
	AfterDone     = "after-done"
	BeforeDelete  = "before-delete" // of each input
	AfterDelete   = "after-delete"  // of all inputs: the swap is not yet forgotten
)

// Points lists them.
func Points() []string {
	return []string{BeforePending, AfterPending, AfterPublish, AfterDone, BeforeDelete, AfterDelete}
}

// Table is a table whose files this process alone may swap. Writers go on to add files meanwhile. It is not safe for
// concurrent use.
type Table struct {
	Name   string
	Probe  func(point string) // for tests; may be nil
	bucket blob.Bucket
	unlock func()
	owner  string          // as the journal names it
	made   map[string]bool // what this holder staged, by either name
}

// CodeLocked is of the error that a table which another process has gives.
const CodeLocked = "ACQ-LAKE-023"

// Lock takes a table, by a lock that is let go when the process dies, and takes back what a crash left half done. A second
// process, or a second taker in this one, is refused.
func Lock(ctx context.Context, bucket blob.Bucket, table string) (*Table, error) {
	unlock, held, err := bucket.TryLock(ctx, folder+"/"+table+".lock")
	if err != nil {
		return nil, fmt.Errorf("lock table %s: %w", table, err)
	}
	if !held {
		return nil, &fault.Error{
			Class: fault.Retryable, Code: CodeLocked, Place: table, Err: errors.New("another process is compacting, expiring or replacing files of this table"),
			Remedy: "wait until it is done; queries and writers are not disturbed",
		}
	}
	t := &Table{Name: table, bucket: bucket, unlock: unlock, Probe: func(string) {}, owner: rand.Text(), made: map[string]bool{}}
	// From here on a former holder finishes no swap, and what it sent before and is still under way is refused. Any lock can be lost
	// without notice: that of a bucket after a minute, that of a file system when the network to it was cut.
	var left []Swap
	err = t.update(ctx, func(j *journal) error {
		j.Owner, left = t.owner, j.Swaps
		return nil
	})
	if err == nil {
		err = t.takeBack(ctx, left, func(blob.Publication) bool { return true })
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return t, nil
}

// mine fails when another process has taken the table over.
func (t *Table) mine(j *journal) error {
	if j.Owner == t.owner {
		return nil
	}
	return fault.Retry(fmt.Errorf("table %s: another process has taken it over", t.Name))
}

// Close lets the table go.
func (t *Table) Close() { t.unlock() }

// staging is where outputs are written before anybody may see them.
func (t *Table) staging() string { return folder + "/" + t.Name }

// recover takes back a swap that failed. The journal is written for that, not only read: a write of it that was given up may still come,
// and is refused then.
func (t *Table) recover(ctx context.Context) error {
	var left []Swap
	err := t.update(ctx, func(j *journal) error {
		left = j.Swaps
		return t.mine(j)
	})
	if err != nil {
		return err
	}
	return t.takeBack(ctx, left, t.own)
}

// takeBack removes what was staged, so that nobody can publish it any more, and then pending swaps.
func (t *Table) takeBack(ctx context.Context, swaps []Swap, staged func(blob.Publication) bool) error {
	if err := t.discard(ctx, staged); err != nil {
		return err
	}
	for _, s := range swaps {
		if s.State != Pending {
			continue
		}
		if err := t.remove(ctx, s.Outputs); err != nil {
			return fmt.Errorf("take back swap %s: %w", s.ID, err)
		}
		if err := t.forget(ctx, map[string]bool{s.ID: true}); err != nil {
			return fmt.Errorf("take back swap %s: %w", s.ID, err)
		}
	}
	return nil
}

// Discard removes what this holder staged and did not swap in. What others have staged stays: the table may be theirs by now.
func (t *Table) Discard(ctx context.Context) error { return t.discard(ctx, t.own) }

func (t *Table) own(p blob.Publication) bool { return t.made[p.Staged] || t.made[p.Final] }

func (t *Table) discard(ctx context.Context, which func(blob.Publication) bool) error {
	staged, err := t.bucket.Leftovers(ctx, t.staging())
	for _, p := range staged {
		if which(p) && (p.Final == "" || belongs(t.Name, p.Final) && IsOutput(p.Final)) {
			err = errors.Join(err, t.bucket.Discard(ctx, p))
		}
	}
	return err
}

// Create opens a file that will be an output, under a name that OutputName made: it is staged, and seen by nobody.
func (t *Table) Create(ctx context.Context, final string) (*blob.File, error) {
	staged := t.staging() + "/" + rand.Text() + ".tmp" // of no other holder: who lost the table may still publish by this name
	t.made[staged], t.made[final] = true, true
	return t.bucket.Stage(ctx, staged, final)
}

// NewID gives a name for a swap that nothing else has or will have; it begins with the time.
func NewID(now time.Time) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // it never fails: crypto/rand
	return now.UTC().Format("20060102T150405") + "-" + hex.EncodeToString(b[:])
}

// Swap replaces inputs, which must count, by outputs, which must be sealed and whose final names nothing else may have
// had: NewID makes such names. When it returns without an error the outputs count and the inputs do not, durably, and
// Sweep deletes the inputs after the grace time. On an error either nothing has changed or, when the last step could not
// be told from its failure, everything has; both are whole.
func (t *Table) Swap(ctx context.Context, id string, inputs []string, outputs []blob.Publication, grace time.Duration) error {
	s := Swap{ID: id, State: Pending, At: time.Now().UTC(), Inputs: inputs}
	for _, o := range outputs {
		s.Outputs = append(s.Outputs, o.Final)
	}
	t.Probe(BeforePending)
	if err := t.update(ctx, func(j *journal) error { return t.begin(ctx, j, s) }); err != nil {
		return fmt.Errorf("begin swap of table %s: %w", t.Name, err)
	}
	t.Probe(AfterPending)
	if err := t.bucket.Publish(ctx, outputs); err != nil {
		return errors.Join(fmt.Errorf("publish outputs of swap: %w", err), t.recover(ctx))
	}
	t.Probe(AfterPublish)
	err := t.update(ctx, func(j *journal) error {
		if err := t.mine(j); err != nil {
			return err
		}
		at := slices.IndexFunc(j.Swaps, func(x Swap) bool { return x.ID == id && x.State == Pending })
		if at < 0 {
			return errors.New("the swap is not in the journal any more")
		}
		now := time.Now().UTC()
		j.replaced(ctx, t.bucket, inputs)
		j.Swaps[at].State, j.Swaps[at].At, j.Swaps[at].DeleteAfter = Done, now, now.Add(grace)
		return nil
	})
	if err != nil { // what the journal says now holds: recover reads it
		return errors.Join(fmt.Errorf("finish swap of table %s: %w", t.Name, err), t.recover(ctx))
	}
	t.Probe(AfterDone)
	return nil
}

// begin adds a swap to the journal if every input is there and counts.
func (t *Table) begin(ctx context.Context, j *journal, s Swap) error {
	if err := t.mine(j); err != nil {
		return err
	}
	excluded := j.excluded()
	for _, name := range s.Inputs {
		there, err := t.bucket.Exists(ctx, name)
		switch {
		case err != nil:
			return err
		case !belongs(t.Name, name):
			return fmt.Errorf("%s is no file of table %s", name, t.Name)
		case !there || excluded[name]:
			return fmt.Errorf("%s is no file of the table any more", name)
		}
	}
	for _, name := range s.Outputs {
		if there, err := t.bucket.Exists(ctx, name); there || err != nil || !belongs(t.Name, name) {
			return errors.Join(err, fmt.Errorf("%s cannot be the name of a new file", name))
		}
	}
	j.Swaps = append(j.Swaps, s)
	return nil
}

// update changes the journal in one atomic, durable step.
func (t *Table) update(ctx context.Context, change func(j *journal) error) error {
	return t.bucket.Update(ctx, journalName(t.Name), func(old []byte) ([]byte, error) {
		j, err := decode(t.Name, old)
		if err != nil {
			return nil, err
		}
		if err := change(&j); err != nil {
			return nil, err
		}
		j.Sequence++
		text, err := json.Marshal(j)
		return append(text, '\n'), err
	})
}

// Sweep deletes the inputs of swaps whose grace time is over at now, and forgets those swaps. It says how many files it
// deleted, and when the next are due; zero: none waits.
func (t *Table) Sweep(ctx context.Context, now time.Time) (deleted int, next time.Time, err error) {
	j, err := read(ctx, t.bucket, t.Name)
	if err != nil {
		return 0, next, err
	}
	over := map[string]bool{}
	for _, s := range j.Swaps {
		switch {
		case s.State != Done:
			continue
		case now.Before(s.DeleteAfter):
			if next.IsZero() || s.DeleteAfter.Before(next) {
				next = s.DeleteAfter
			}
			continue
		case ctx.Err() != nil:
			return deleted, next, ctx.Err()
		}
		if err := t.remove(ctx, s.Inputs); err != nil {
			return deleted, next, fmt.Errorf("delete files that were replaced: %w", err)
		}
		deleted += len(s.Inputs)
		over[s.ID] = true
	}
	if len(over) == 0 {
		return 0, next, nil
	}
	t.Probe(AfterDelete)
	return deleted, next, t.forget(ctx, over)
}

// remove deletes files, for good: a swap may be forgotten only when no power cut can bring one of them back. A folder that
// is empty then stays: a writer may be about to publish into it.
func (t *Table) remove(ctx context.Context, names []string) error {
	folders := map[string]bool{}
	for _, name := range names {
		t.Probe(BeforeDelete)
		if err := t.bucket.Remove(ctx, name); err != nil {
			return err
		}
		folders[path.Dir(name)] = true
	}
	for name := range folders {
		if err := t.bucket.SyncFolder(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (t *Table) forget(ctx context.Context, ids map[string]bool) error {
	return t.update(ctx, func(j *journal) error {
		j.Swaps = slices.DeleteFunc(j.Swaps, func(s Swap) bool { return ids[s.ID] })
		return nil
	})
}
