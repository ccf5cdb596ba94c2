// Package cli is the command line: flags, signals and exit codes live here; the work does not.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/routers"
)

// Exit codes; `acequia --help` lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitEnvironment = 3
	exitPartial     = 4
	exitDifferent   = 5
	exitSignal      = 128
)

const description = `Carries operational data from a web form, queues and databases to items and to partitioned Parquet.

Start with:  acequia demo

Exit codes: 0 ok, 1 the run failed, 2 usage or configuration, 3 environment (port, rights, disk, state file),
4 partial (dead letters), 5 verify found differences, 130/143 a signal cut it short.`

// cli is the command tree.
type cli struct {
	Demo     demoCmd     `cmd:"" help:"Run the video-game register: form, items, lake and SQL in one process."`
	Run      runCmd      `cmd:"" help:"Run the pipelines of configuration files."`
	Serve    serveCmd    `cmd:"" help:"Run them with a web server: forms, query page, status, metrics."`
	Backfill backfillCmd `cmd:"" help:"Read the tables of databases as they stand, anew, and follow nothing."`
	Verify   verifyCmd   `cmd:"" help:"Compare every row of a database with what the sinks hold, and mend what differs."`
	Sweep    sweepCmd    `cmd:"" help:"Find rows that were deleted where a pipeline could not see it, and delete them in the sinks."`
	Sync     syncCmd     `cmd:"" help:"Read one table again now, and send it through its pipelines."`
	Backup   backupCmd   `cmd:"" help:"Keep databases as they stand at one moment, list, verify, restore and prune what is kept."`
	Jobs     jobsCmd     `cmd:"" help:"List, show or cancel the jobs of a process that serves."`
	Schedule scheduleCmd `cmd:"" help:"Show, run or pause the jobs that begin by themselves."`
	Replay   replayCmd   `cmd:"" help:"Send what a lake holds, or all dead letters, through a pipeline again."`
	Init     initCmd     `cmd:"" help:"Write a commented configuration file to start from."`
	Check    checkCmd    `cmd:"" help:"Find every mistake in configuration files before anything runs."`
	Test     testCmd     `cmd:"" help:"Run the tests that configuration files hold."`
	Plan     planCmd     `cmd:"" help:"Show what run would do, without doing it."`
	Schema   schemaCmd   `cmd:"" help:"Print the JSON Schema of configuration files, for editors."`
	DLQ      dlqCmd      `cmd:"" name:"dlq" help:"List, show, mend, retry, drop or export dead letters: the records that could not pass."`
	State    stateCmd    `cmd:"" help:"Show where each lane stands, or have tables read anew by the next run."`
	Capture  captureCmd  `cmd:"" help:"Install, remove or show what lets the changes of a database be found."`
	Query    queryCmd    `cmd:"" help:"Ask the lake with SQL, also while the demo runs."`
	Tables   tablesCmd   `cmd:"" help:"List, describe, compact and expire the tables of a lake, and make them known to Athena."`
	Setup    setupCmd    `cmd:"" help:"Make on AWS what a configuration needs, show how it differs, delete it, and print the least rights of each part."`
	Status   statusCmd   `cmd:"" help:"Show each pipeline: state, lag, rows a second, last file, dead letters."`
	Doctor   doctorCmd   `cmd:"" help:"Look at all that pipelines need, and say what to do about what is wrong."`
	Health   healthCmd   `cmd:"" help:"Ask a process that serves whether it is well: the health check of containers."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
	Mode     modeCmd     `cmd:"" default:"withargs" hidden:"" help:"Start the cinema service as it always was: --mode api, migrate, backup or scheduler."`

	EnvFile string `help:"File of NAME=value lines that stand for variables the environment does not have; default .env, when it is there." type:"path" placeholder:"FILE"`
}

// terminal is where a command reads and writes.
type terminal struct {
	out, err io.Writer
	plugins  catalog.Catalog
	envFile  string                                        // "": .env, when it is there
	lang     string                                        // of what is told while files are read: es, or en for any other
	wire     func(p *routers.Pipeline, o *routers.Options) // see app.DemoOptions; nil but in the crash tests
	probe    func(point string)                            // of backups; likewise
}

// Main runs the command that the arguments name, with acequia's plugins and those of the catalogs, and gives its exit
// code.
func Main(args []string, more ...catalog.Catalog) int {
	t := terminal{out: os.Stdout, err: os.Stderr}
	var err error
	if t.plugins, err = catalog.Join(append([]catalog.Catalog{catalog.Default()}, more...)...); err != nil {
		return report(t.err, err)
	}
	return run(args, t)
}

// run executes one command and gives its exit code. The first signal asks for an orderly stop, the second forces it.
func run(args []string, t terminal) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	defer func() { signal.Stop(signals); close(done) }()
	go func() {
		for asked := false; ; asked = true {
			select {
			case s := <-signals:
				number, _ := s.(syscall.Signal)
				if asked {
					os.Exit(exitSignal + int(number))
				}
				cancel(stopped{number})
			case <-done:
				return
			}
		}
	}()
	return execute(ctx, args, t)
}

// execute parses and runs. kong asks to exit after --help: that is only noted, and nothing is run.
func execute(ctx context.Context, args []string, t terminal) int {
	var commands cli
	var exit *int
	parser, err := newParser(
		&commands,
		kong.Writers(t.out, t.err), kong.Exit(func(code int) { exit = &code }), kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return report(t.err, err)
	}
	chosen, err := parser.Parse(args)
	if exit != nil {
		return *exit
	}
	if err != nil {
		_, _ = fmt.Fprintf(t.err, "acequia: %v\nTry: acequia --help\n", err)
		return exitUsage
	}
	t.envFile = commands.EnvFile
	err = chosen.Run(t)
	if by, ok := errors.AsType[stopped](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) && fault.Code(err) == "" {
		_, _ = fmt.Fprintf(t.err, "acequia: %v\n", by)
		return exitSignal + int(by.signal)
	}
	return report(t.err, err)
}

// stopped is why a command ended that was not done.
type stopped struct{ signal syscall.Signal }

func (s stopped) Error() string {
	return fmt.Sprintf("stopped by a signal (%v) before it was done", s.signal)
}

func newParser(commands *cli, options ...kong.Option) (*kong.Kong, error) {
	options = append(options, kong.Name("acequia"), kong.Description(description), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}))
	return kong.New(commands, options...)
}
