package athena

import (
	"context"
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/fault"
)

// Action is what is to be done with a resource.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "update"
	Same   Action = "same"   // it is as it should be
	Refuse Action = "refuse" // it cannot become what it should be, and stays
)

// Sign is the action in one letter.
func (a Action) Sign() string {
	switch a {
	case Create:
		return "+"
	case Update:
		return "~"
	case Refuse:
		return "!"
	case Same:
	}
	return "="
}

// Change is what is to be done with one resource.
type Change struct {
	Kind    string   `json:"kind"` // workgroup, database, table, view, query
	Name    string   `json:"name"`
	Action  Action   `json:"action"`
	Details []string `json:"details,omitempty"` // what differs, or why it is refused
	do      func(ctx context.Context) error
}

// differences gathers what differs between what is there and what shall be.
type differences []string

func (d *differences) text(what, is, shall string) {
	if is != shall {
		*d = append(*d, fmt.Sprintf("%s: %s -> %s", what, orNothing(is), orNothing(shall)))
	}
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// change makes a Change of what differs.
func (d differences) change(kind, name string, do func(context.Context) error) Change {
	if len(d) == 0 {
		return Change{Kind: kind, Name: name, Action: Same}
	}
	return Change{Kind: kind, Name: name, Action: Update, Details: d, do: do}
}

func refuse(kind, name, why string) Change {
	return Change{Kind: kind, Name: name, Action: Refuse, Details: []string{why}}
}

// CodeRefused is of what cannot become what it should be.
const CodeRefused = "ACQ-ATHENA-002"

// Refused gives the error of what cannot be made; nil: all can.
func Refused(changes []Change) error {
	at := slices.IndexFunc(changes, func(c Change) bool { return c.Action == Refuse })
	if at < 0 {
		return nil
	}
	c := changes[at]
	return &fault.Error{
		Code: CodeRefused, Place: c.Kind + " " + c.Name, Err: fmt.Errorf("%s", c.Details[0]),
		Remedy: "give the lake another database with athena: { database: ... }, or take away what is there",
	}
}

// Apply does what is to be done, in order, and tells of each. What was done before an error stays.
func Apply(ctx context.Context, changes []Change, done func(Change)) error {
	for _, c := range changes {
		if c.do != nil {
			if err := c.do(ctx); err != nil {
				return err
			}
		}
		done(c)
	}
	return nil
}
