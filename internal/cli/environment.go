package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/environment"
	"github.com/acequia-io/acequia/internal/obs"
)

// usualFile is the configuration file of a command that names none.
const usualFile = "acequia.yaml"

// variables are those of the process and of the .env file. Those of AWS are its SDK's, which looks at the process alone.
func (t terminal) variables() (environment.Variables, error) {
	v, err := environment.Load(os.Environ(), t.envFile)
	for name, value := range v {
		if _, has := os.LookupEnv(name); !has && err == nil && strings.HasPrefix(name, "AWS_") {
			err = os.Setenv(name, value)
		}
	}
	return v, err
}

// load reads and checks configuration files.
func (t terminal) load(ctx context.Context, paths []string) (*app.Project, config.Problems, error) {
	v, err := t.variables()
	if err != nil {
		return nil, nil, err
	}
	return app.LoadProject(ctx, t.plugins, paths, v.Lookup)
}

// implied keeps the configuration that the environment implies, for commands that name none, and says where its data is.
func (t terminal) implied() (path string, err error) {
	v, err := t.variables()
	if err != nil {
		return "", err
	}
	p, err := t.service(v)
	if err != nil {
		return "", err
	}
	return p.Keep()
}

// service is what the environment says. AWS that cannot be used is refused; that it is not used is said.
func (t terminal) service(v environment.Variables) (*environment.Implied, error) {
	p, err := v.Implied()
	if err != nil {
		return nil, err
	}
	backend, err := v.Backend()
	if err != nil {
		return nil, err
	}
	p.AWS = backend == environment.AWS
	_, err = fmt.Fprintln(t.err, config.Translation(t.lang)(p.Place()))
	return p, err
}

// usual is the configuration file in the working directory, else what the environment implies.
func (t terminal) usual() (string, error) {
	if _, err := os.Stat(usualFile); !errors.Is(err, fs.ErrNotExist) {
		return usualFile, nil
	}
	path, err := t.implied()
	if fault.Code(err) == "ACQ-USE-013" {
		return "", &fault.Error{
			Code: "ACQ-USE-002", Place: usualFile, Err: errors.New("no file was named, there is none of this name here, and the environment names no database"),
			Remedy: "name a configuration file, or write one with acequia init",
		}
	}
	return path, err
}

// log is the log of commands that run long: on stderr, and in LOG_FILE when that is set, from LOG_LEVEL on.
func (t terminal) log() (log *slog.Logger, closed func() error, err error) {
	v, err := t.variables()
	if err != nil {
		return nil, nil, err
	}
	level, err := obs.LevelOf(v["LOG_LEVEL"], slog.LevelInfo)
	if err != nil {
		return nil, nil, err
	}
	log = obs.NewLogger(t.err, level)
	if v["LOG_FILE"] == "" {
		return log, func() error { return nil }, nil
	}
	file, err := obs.OpenLogFile(v["LOG_FILE"])
	if err != nil {
		return nil, nil, err
	}
	return file.With(log, level), file.Close, nil
}
