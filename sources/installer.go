package sources

import (
	"context"
	"time"
)

// Installer is a source that can put into its database what finding changes needs there, such as triggers. It changes nothing
// unless Apply is called.
type Installer interface {
	// Install gives the statements that are still to be run, in order; none: all is there.
	Install(ctx context.Context, r InstallRequest) ([]Statement, error)
	// Uninstall gives the statements that remove what Install puts there, and nothing else.
	Uninstall(ctx context.Context, r InstallRequest) ([]Statement, error)
	// Apply runs statements in order and stops at the first that fails, which its error names; done, which may be nil, is
	// told of each that was run. Both plans leave out what is done, so that they can be made and applied again.
	Apply(ctx context.Context, statements []Statement, done func(Statement)) error
	// Installed says how each table's changes can be found now.
	Installed(ctx context.Context) ([]Installed, error)
}

// InstallRequest chooses what is installed.
type InstallRequest struct {
	Strategy string   // log, queue, xid or time; to uninstall, "" is every one of them
	Tables   []string // patterns, among the tables of the source; none: all of them
	PerRow   bool     // queue: a trigger that is called for each row, where one a statement would do
	Overflow string   // queue: alert (or ""), or stop_trigger: above MaxRows the triggers stop writing, and the table must be read anew
	MaxRows  int64    // queue: of one table; 0 is 10,000,000
}

// Statement is one statement, with why it is needed.
type Statement struct {
	SQL   string `json:"sql"` // or what the shell of a database takes that speaks none
	Why   string `json:"why"`
	Table string `json:"table,omitempty"` // "": it is for all
}

// Installed is how the changes of a table are found.
type Installed struct {
	Table    string        `json:"table"`
	Stream   string        `json:"stream"`
	Ready    []string      `json:"ready"`              // the strategies that can be taken now, best first
	Missing  []Missing     `json:"missing,omitempty"`  // why the others cannot
	Strategy string        `json:"strategy,omitempty"` // the one that follows it; "": none yet
	Risks    []string      `json:"risks,omitempty"`    // what that one does not see
	Waiting  int64         `json:"waiting,omitempty"`  // queue: changes that nobody has read
	Oldest   time.Duration `json:"oldest,omitempty"`   // queue: age of the oldest of them
}

// Missing is a strategy that a table cannot have, and why.
type Missing struct {
	Strategy string `json:"strategy"`
	Reason   string `json:"reason"`
	Remedy   string `json:"remedy,omitempty"`
}
