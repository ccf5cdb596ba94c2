package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/acequia-io/acequia/internal/provision"
)

// setupShown is what --json writes.
type setupShown struct {
	Project string           `json:"project"`
	Account string           `json:"account,omitempty"`
	Region  string           `json:"region,omitempty"`
	Steps   []provision.Step `json:"steps"`
	Notes   []string         `json:"notes,omitempty"` // what is needed and not made
}

// setupStage is how far resources are.
type setupStage int

const (
	planned setupStage = iota
	applied
	doomed
	destroyed
)

// looked says that nothing was done, and so nothing shown yet.
func (s setupStage) looked() bool { return s == planned || s == doomed }

// words are what making, changing and deleting are called, and what may follow; "": nothing.
func (s setupStage) words() (create, change, remove, last string) {
	switch s {
	case planned:
		return "to make", "to change", "", "acequia setup apply makes it so"
	case applied:
		return "made", "changed", "", ""
	case doomed:
		return "", "", "to delete", "nothing was deleted: --yes deletes"
	case destroyed:
	}
	return "", "", "deleted", ""
}

// each shows steps as they are done, for people.
func (f setupFlags) each(t terminal) func(provision.Step) {
	return func(s provision.Step) {
		if !f.JSON {
			_ = showStep(t.out, s) // what cannot be written is told at the end
		}
	}
}

// shown writes what has not been shown yet: all of it as JSON, or of what was only looked at; and how many there are of each.
func (f setupFlags) shown(t terminal, site *provision.Site, needs provision.Needs, steps []provision.Step, how setupStage) error {
	if f.JSON {
		if steps == nil {
			steps = []provision.Step{}
		}
		return writeJSON(t.out, setupShown{needs.Project, site.Account, site.Region, steps, needs.Notes})
	}
	if how.looked() {
		for _, s := range steps {
			if err := showStep(t.out, s); err != nil {
				return err
			}
		}
	}
	for _, n := range needs.Notes {
		if _, err := fmt.Fprintf(t.out, "  not made: %s\n", n); err != nil {
			return err
		}
	}
	create, change, remove, last := how.words()
	var words []string
	count := func(n int, text string) {
		if n > 0 && text != "" {
			words = append(words, fmt.Sprintf("%d %s", n, text))
		}
	}
	count(provision.Count(steps, provision.Create), create)
	count(provision.Count(steps, provision.Change), change)
	count(provision.Count(steps, provision.Delete), remove)
	count(provision.Count(steps, provision.Same), "as needed")
	count(provision.Count(steps, provision.Keep), "stay")
	count(provision.Count(steps, provision.Blocked), "cannot be changed in place")
	count(provision.Failed(steps), "failed")
	if len(words) == 0 {
		words = []string{"nothing is there"}
	}
	todo := provision.Count(steps, provision.Create, provision.Change, provision.Delete)
	if how == applied && todo == 0 && provision.Failed(steps) == 0 {
		words = append(words, "nothing was changed")
	}
	if todo > 0 && last != "" {
		words = append(words, last)
	}
	_, err := fmt.Fprintf(t.out, "project %s in account %s, %s: %s\n", needs.Project, site.Account, site.Region, strings.Join(words, ", "))
	return err
}

// showStep writes a resource, with what is or was done with it.
func showStep(out io.Writer, s provision.Step) error {
	var b strings.Builder
	sign := map[provision.Action]string{
		provision.Create: "+", provision.Change: "~", provision.Same: "=", provision.Blocked: "!", provision.Delete: "-", provision.Keep: "=",
	}[s.Action]
	if s.Error != nil {
		sign = "✗"
	}
	fmt.Fprintf(&b, "%s %s %s\n", sign, s.Kind, s.Name)
	for _, line := range s.Is {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	for _, d := range s.Changes {
		fmt.Fprintf(&b, "    ~ %s: %s → %s\n", d.What, d.Is, d.Want)
	}
	for _, d := range s.Blocked {
		fmt.Fprintf(&b, "    ! %s: %s, needed %s\n      %s\n", d.What, d.Is, d.Want, d.Why)
	}
	if s.Note != "" {
		fmt.Fprintf(&b, "    %s\n", s.Note)
	}
	if e := s.Error; e != nil {
		fmt.Fprintf(&b, "    %s %s\n    %s\n", e.Code, e.Place, strings.ReplaceAll(e.Reason, "\n", "\n    "))
		if e.Remedy != "" {
			fmt.Fprintf(&b, "    → %s\n", e.Remedy)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
