package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/internal/provision"
	"github.com/acequia-io/acequia/internal/setup"
)

// setupFlags are those of the commands that look at AWS.
type setupFlags struct {
	files
	Project  string   `help:"Name of the project: the value of the tag of all that is its, and what begins names; default: that of the first file, or cinema." placeholder:"NAME"`
	Region   string   `help:"Region of parts that name none under aws; default: that of AWS_REGION." placeholder:"REGION"`
	Endpoint string   `help:"Address of a server that speaks the protocols of AWS, for parts that name none under aws." placeholder:"URL"`
	Results  string   `help:"Bucket of the results of queries, where a lake names none; default: that of the lake's name and -results." placeholder:"s3://BUCKET"`
	Only     []string `help:"Only these kinds: bucket, table, queue, bus, rule, role, pipe." enum:"bucket,table,queue,bus,rule,role,pipe" placeholder:"KIND"`
	JSON     bool     `help:"Write JSON."`
}

type setupPlanCmd struct {
	setupFlags
	Adopt    bool `help:"Show what apply --adopt would do."`
	ExitCode bool `help:"Exit 5 when anything is not as it is needed."`
}

// Help shows examples.
func (setupPlanCmd) Help() string {
	return `Shows what acequia setup apply would make on AWS, and how what is there differs: + is made, ~ is changed, = is as it is needed, ! cannot be
changed in place, with the reason. Nothing is changed. Without a file, and without ./acequia.yaml, it is what the cinema service's environment needs
(S3_BUCKET_NAME, DYNAMODB_*_TABLE). Databases whose tables become items are asked for their columns, where no file tells them.

Examples:
  acequia setup plan games.yaml
  acequia setup plan games.yaml --exit-code --json
  S3_BUCKET_NAME=cinema-data acequia setup plan --region eu-west-1

Exit codes: 0 ok, 2 usage or configuration, 3 AWS cannot be reached or does not let this user look, 4 something cannot be changed in place,
5 with --exit-code: something is not as it is needed.`
}

// Run plans.
func (c setupPlanCmd) Run(ctx context.Context, t terminal) error {
	site, needs, err := c.open(ctx, t, provision.Options{Adopt: c.Adopt})
	if err != nil || site == nil {
		return err
	}
	steps, err := site.Plan(ctx)
	if err = errors.Join(err, site.Close()); err != nil {
		return err
	}
	if err := c.shown(t, site, needs, steps, planned); err != nil {
		return err
	}
	if err := ended(steps); err != nil {
		return err
	}
	if c.ExitCode && provision.Count(steps, provision.Same) < len(steps) {
		return toldError{exitDifferent}
	}
	return nil
}

type setupApplyCmd struct {
	setupFlags
	Adopt    bool          `help:"Make resources that are there and carry no project's tag this project's, and change them too."`
	Patience time.Duration `help:"How long one resource is waited for, such as an index that is being filled." default:"30m" placeholder:"TIME"`
}

// Help shows examples.
func (setupApplyCmd) Help() string {
	return `Makes on AWS what the files need, and changes what differs: buckets (closed, encrypted, TLS alone, with a life cycle), tables of DynamoDB with
their indexes, streams, TTL and recovery, queues with dead-letter queues, buses, and the pipe, rule and role that carry a table's changes into a queue. It
waits until tables can be used, deletes nothing, and a second time changes nothing. All that it makes carries the tag acequia:managed-by with
the project's name; what does not is left as it is, unless --adopt says otherwise. It needs more rights than what runs afterwards:
acequia setup iam --component setup prints them.

Examples:
  acequia setup apply games.yaml
  acequia setup apply games.yaml --project games-test --region eu-west-1
  acequia setup apply games.yaml --adopt --only table

Exit codes: 0 ok, 1 something could not be made, 2 usage or configuration, 3 AWS cannot be reached or does not let this user, 4 something
cannot be changed in place.`
}

// Run makes.
func (c setupApplyCmd) Run(ctx context.Context, t terminal) error {
	site, needs, err := c.open(ctx, t, provision.Options{Adopt: c.Adopt, Patience: c.Patience})
	if err != nil || site == nil {
		return err
	}
	steps, err := site.Apply(ctx, c.each(t))
	if err = errors.Join(err, site.Close()); err != nil {
		return err
	}
	if err := c.shown(t, site, needs, steps, applied); err != nil {
		return err
	}
	return ended(steps)
}

type setupDestroyCmd struct {
	setupFlags
	Yes      bool `help:"Delete; without it is only shown what would be."`
	WithData bool `help:"Buckets, tables and queues that hold something, too, with all of it. Nothing brings it back."`
}

// Help shows examples.
func (setupDestroyCmd) Help() string {
	return `Deletes what acequia setup apply has made for the files: what they name, and what carries the tag acequia:managed-by with this project's name.
Without --yes it only shows what would go. Buckets, tables and queues that hold something stay, unless --with-data deletes them with all of it.

Examples:
  acequia setup destroy games.yaml
  acequia setup destroy games.yaml --yes
  acequia setup destroy games.yaml --project games-test --yes --with-data

Exit codes: 0 ok, 1 something could not be deleted, 2 usage or configuration, 3 AWS cannot be reached or does not let this user, 4 something
of the project stays because of what it holds.`
}

// Run shows, or deletes.
func (c setupDestroyCmd) Run(ctx context.Context, t terminal) error {
	site, needs, err := c.open(ctx, t, provision.Options{})
	if err != nil || site == nil {
		return err
	}
	how := doomed
	var steps []provision.Step
	if c.Yes {
		how = destroyed
		steps, err = site.Destroy(ctx, c.WithData, c.each(t))
	} else {
		steps, err = site.Doomed(ctx, c.WithData)
	}
	if err = errors.Join(err, site.Close()); err != nil {
		return err
	}
	if err := c.shown(t, site, needs, steps, how); err != nil {
		return err
	}
	if err := ended(steps); c.Yes || provision.Failed(steps) > 0 {
		return err
	}
	return nil
}

// ended gives the exit code of steps, whose errors were shown.
func ended(steps []provision.Step) error {
	for i := range steps {
		if err := steps[i].Err(); err != nil {
			return toldError{exitCodeOf(fault.Code(err))}
		}
	}
	if provision.Count(steps, provision.Blocked) > 0 || slices.ContainsFunc(steps, func(s provision.Step) bool { return len(s.Blocked) > 0 || s.Held }) {
		return toldError{exitPartial}
	}
	return nil
}

// open finds out what is needed, and where. site is nil where nothing of AWS is, which is told.
func (f setupFlags) open(ctx context.Context, t terminal, o provision.Options) (*provision.Site, provision.Needs, error) {
	needs, err := f.needs(ctx, t)
	if err != nil {
		return nil, needs, err
	}
	if needs.Empty() {
		if f.JSON {
			return nil, needs, writeJSON(t.out, setupShown{Project: needs.Project, Steps: []provision.Step{}, Notes: needs.Notes})
		}
		_, err := fmt.Fprintln(t.out, "nothing of AWS is needed")
		return nil, needs, err
	}
	o.At = awsconfig.Settings{Region: f.Region, Endpoint: f.Endpoint}
	for _, kind := range f.Only {
		o.Only = append(o.Only, provision.Kind(kind))
	}
	if !f.JSON {
		o.Tell = func(p provision.Progress) {
			_, _ = fmt.Fprintf(t.err, "  %s %s: %s (%s)\n", p.Kind, p.Name, p.State, p.After.Round(time.Second))
		}
	}
	site, err := provision.Open(ctx, needs, o)
	return site, needs, err
}

// needs reads the files, or the environment.
func (f setupFlags) needs(ctx context.Context, t terminal) (provision.Needs, error) {
	var none provision.Needs
	results := ""
	if f.Results != "" {
		folder, isS3, err := setup.ParseFolder(f.Results)
		if !isS3 || err != nil {
			return none, setupUsage(fmt.Errorf("--results: %q is no bucket: want s3://BUCKET", f.Results))
		}
		results = folder.Bucket
	}
	paths, err := setupPaths(f.Paths)
	if err != nil {
		return none, err
	}
	name := f.Project
	if name == "" {
		name = projectName(paths)
	}
	if !isProject(name) {
		return none, noProject(name)
	}
	if len(paths) == 0 {
		v, err := t.variables()
		if err != nil {
			return none, err
		}
		p, err := v.Places()
		if err != nil {
			return none, err
		}
		return app.CinemaNeeds(name, results, p), nil
	}
	project, problems, err := t.load(ctx, paths)
	if err != nil {
		return none, err
	}
	if !problems.Errors() {
		var more config.Problems
		needs, more, err := project.Needs(ctx, name, results, obs.NewLogger(t.err, slog.LevelWarn))
		if err != nil {
			return none, err
		}
		if problems = more; !problems.Errors() {
			return needs, nil
		}
	}
	tell(t.err, problems)
	return none, toldError{exitUsage}
}

func noProject(name string) error {
	return setupUsage(fmt.Errorf("--project: %q is no name: want a letter, then up to 29 letters, digits, - and _", name))
}

func setupUsage(err error) error {
	return &fault.Error{Code: "ACQ-USE-071", Place: "setup", Err: err, Remedy: "see acequia setup --help"}
}

// setupPaths gives the files that are meant; none: the environment of the cinema service.
func setupPaths(named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	switch _, err := os.Stat(usualFile); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []string{usualFile}, nil
}

// projectName is the name of a project whose files are these.
func projectName(paths []string) string {
	if len(paths) == 0 {
		return "cinema"
	}
	base := filepath.Base(paths[0])
	if full, err := filepath.Abs(paths[0]); err == nil {
		base = filepath.Base(full)
	}
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml")
	return strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' {
				return '-'
			}
		}
		return r
	}, base)
}

// isProject says whether a name can begin the names of resources of every kind.
func isProject(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return name != "" && len(name) <= 30 && strings.ContainsAny(name[:1], letters) && strings.Trim(name, letters+"0123456789-_") == ""
}
