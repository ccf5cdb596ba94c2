package config

import (
	"strings"
	"time"
)

// File is a configuration file. What can be understood is there even when other parts have mistakes.
type File struct {
	Path      string
	Version   int
	State     State
	Reports   string // folder of the reports of migrations as the file writes it, see ReportsAt; "": none
	Memory    Size   // target for the process; 0 is the default
	Sources   Ordered[*Block]
	Sinks     Ordered[*Block]
	Pipelines []*Pipeline
	Backup    *Backup // nil: the file says nothing of backups
	API       API
	Schedule  Schedule
	file      *source
	root      *node
}

// Block is a source, a sink or a step. The type names a plugin; the rest is for the plugin to decode.
type Block struct {
	Name string // "" for a step
	Type string
	what string // "source", "sink" or "step"
	file *source
	node *node // without the type
	at   *node // the type's place
	key  *node // where the block as a whole is pointed at
}

// title names the block in messages.
func (b *Block) title() string {
	if b.Name == "" {
		return strings.TrimSpace(b.what + " " + b.Type)
	}
	return b.what + " " + b.Name
}

// Text gives the settings in one line, as the file writes them: references to secrets, not the secrets.
func (b *Block) Text() string {
	if b.node == nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.node.flow(), "{"), "}")
}

// Reference names a source or a sink from a pipeline.
type Reference struct {
	Name string
	what string
	file *source
	node *node
}

// Problem is the mistake of a name that is none of the known.
func (r Reference) Problem(known []string) Problem {
	remedy := suggest(r.Name, known)
	if len(known) == 0 {
		remedy = "declare it under " + r.what + "s"
	}
	return r.file.at(r.node, CodeReference, remedy, "there is no %s %q", r.what, r.node.shown())
}

// Retry says how often and how fast a lane is started again; what is 0 is left to the router.
type Retry struct {
	Max     int           `yaml:"max" doc:"Restarts in a row after which the pipeline stops; default 0, no limit."`
	Initial time.Duration `yaml:"initial" doc:"Wait before the first restart; it doubles each time; default 200ms."`
	Longest time.Duration `yaml:"longest" doc:"The longest wait before a restart; default 30s."`
}

// Pipeline joins a source to sinks.
type Pipeline struct {
	Name      string
	From      Reference
	Steps     []*Block
	To        []Reference
	Retry     Retry
	StopAfter Share   // part of bad records that stops the pipeline; 0: none does
	Follow    *bool   // what its source does under acequia serve between jobs; nil: not said
	Tests     []*Test // nothing is expanded in them
	file      *source
	key, node *node
}

// At puts an error at a key of the pipeline; a key inside another is written with a dot, as in errors.stop_after.
func (p *Pipeline) At(key string, err error) Problem {
	k, v, found := p.node.find(p.key, strings.Split(key, "."))
	if !found {
		v = nil
	}
	return p.file.at(spot(k, v), CodePlugin, "", "pipeline %s: %v", p.Name, err)
}

// The top of a file, as the decoder reads it.
type fileKeys struct {
	Version   *node            `yaml:"version" doc:"Version of the format: 1."`
	State     State            `yaml:"state" doc:"Where checkpoints, dead letters and jobs are kept."`
	Memory    Size             `yaml:"memory" doc:"Target for the memory of the process; default 256MiB."`
	Reports   string           `yaml:"reports" doc:"Folder of the reports of migrations, which acequia backfill and migrations write: a path, file:///dir, or s3://bucket/prefix; default: none are written."`
	Sources   Ordered[*node]   `yaml:"sources" doc:"Where records come from, by name."`
	Sinks     Ordered[*node]   `yaml:"sinks" doc:"Where records go, by name."`
	Pipelines Ordered[*node]   `yaml:"pipelines" required:"true" doc:"What flows from where to where, by name."`
	Backup    *Backup          `yaml:"backup" doc:"Where backups of databases are kept, and for how long."`
	Tests     []*node          `yaml:"tests" doc:"Records to put through pipelines, and what must come out."`
	API       API              `yaml:"api" doc:"Who may use the control API of acequia serve; in one file of a project."`
	Schedule  Schedule         `yaml:"schedule" doc:"Jobs that begin by themselves under acequia serve; in one file of a project."`
	Ignored   map[string]*node `yaml:",extension"` // keys that begin with x-: a place for anchors
}

type pipelineKeys struct {
	From   *node      `yaml:"from" required:"true" doc:"The source."`
	Steps  []*node    `yaml:"steps" doc:"What is done to the records, in order."`
	To     []*node    `yaml:"to" required:"true" doc:"The sinks."`
	Errors errorsKeys `yaml:"errors" doc:"What happens after failures."`
	Follow *bool      `yaml:"follow" doc:"Under acequia serve, of a source that reads a database: true follows its changes all the time, false reads only when a job or the schedule asks; default: true, and false where a schedule has sync."`
	Tests  []*node    `yaml:"tests" doc:"Records to put through the pipeline, and what must come out."`
}

type errorsKeys struct {
	Retry     Retry `yaml:"retry" doc:"How often and how fast the pipeline starts again after a failure."`
	StopAfter Share `yaml:"stop_after" doc:"Part of bad records that stops the pipeline; default: none does."`
}

// Names gives the names of a mapping in order.
func (o Ordered[T]) Names() []string {
	names := make([]string, len(o))
	for i, e := range o {
		names[i] = e.Name
	}
	return names
}
