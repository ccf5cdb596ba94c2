package cli

import (
	"context"
	"errors"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
)

// demoState is the state of a demo in the working directory, where no configuration file is.
const demoState = ".acequia"

// stateFlags name a state: that of a configuration file, or a directory.
type stateFlags struct {
	File string `short:"f" help:"Configuration file; default ./acequia.yaml, else what the environment implies." placeholder:"FILE"`
	Dir  string `help:"State directory, such as a demo's, in place of a file; without ./acequia.yaml the default is .acequia." type:"path" placeholder:"DIR"`
}

// subject gives the folder of the state, and the project unless a directory was named, or no file is there. More files may
// be named beside -f.
func (f stateFlags) subject(ctx context.Context, t terminal, more ...string) (dir string, project *app.Project, err error) {
	named := files{Paths: more}
	if f.File != "" {
		named.Paths = append(named.Paths, f.File)
	}
	switch {
	case f.Dir != "" && len(named.Paths) > 0:
		return "", nil, &fault.Error{
			Code: "ACQ-USE-055", Place: "--dir", Err: errors.New("a file says itself where its state is"), Remedy: "name the file, or --dir, and not both",
		}
	case f.Dir != "":
		return f.Dir, nil, nil
	}
	switch named.Paths, err = named.named(t); {
	case fault.Code(err) == "ACQ-USE-002":
		return demoState, nil, nil // no file at all: a demo in this folder
	case err != nil:
		return "", nil, err
	}
	project, problems, err := named.load(ctx, t)
	if err != nil {
		return "", nil, err
	}
	if problems.Errors() {
		tell(t.err, problems)
		return "", nil, toldError{exitUsage}
	}
	return project.State, project, nil
}

// statePlace is where the state of a subject is.
func statePlace(dir string, project *app.Project) app.StatePlace {
	if project == nil {
		return app.StatePlace{Dir: dir}
	}
	return project.StatePlace()
}
