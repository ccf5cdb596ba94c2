package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/dynamolog"
)

// SharedState is where processes share a state: a database of PostgreSQL, or a table of DynamoDB.
type SharedState struct {
	DSN   config.Secret
	Table string
	AWS   awsconfig.Settings // of the table
}

// StatePlace is where a state is kept.
type StatePlace struct {
	Dir string // what is this process's alone; the state file too, where the state is not shared
	SharedState
}

// StatePlace is where the state of the project is.
func (p *Project) StatePlace() StatePlace { return StatePlace{Dir: p.State, SharedState: p.Shared} }

func (s StatePlace) file() string { return filepath.Join(s.Dir, "state.db") }

// Open opens the state, and makes it if need be.
func (s StatePlace) Open(ctx context.Context, log *slog.Logger) (*checkpoint.Store, error) {
	switch {
	case s.DSN != "":
		return checkpoint.OpenPostgres(ctx, string(s.DSN))
	case s.Table != "":
		shared, err := s.log(ctx, log)
		if err != nil {
			return nil, err
		}
		return checkpoint.OpenShared(ctx, shared)
	}
	return checkpoint.Open(ctx, s.file())
}

// log opens the log of a state in DynamoDB.
func (s StatePlace) log(ctx context.Context, tell *slog.Logger) (checkpoint.SharedOptions, error) {
	table, err := dynamolog.Open(ctx, s.AWS, s.Table)
	if err != nil {
		return checkpoint.SharedOptions{}, err
	}
	return checkpoint.SharedOptions{Log: table, Place: table.Place(), Dir: s.Dir, Tell: tell}, nil
}

// OpenToRead opens the state beside processes that run. ACQ-ENV-005, and checkpoint.ErrNoState: nothing has run yet.
func (s StatePlace) OpenToRead(ctx context.Context) (store *checkpoint.Store, err error) {
	switch {
	case s.DSN != "":
		store, err = checkpoint.OpenPostgresToRead(ctx, string(s.DSN))
	case s.Table != "":
		var shared checkpoint.SharedOptions
		if shared, err = s.log(ctx, slog.New(slog.DiscardHandler)); err == nil {
			store, err = checkpoint.OpenSharedToRead(ctx, shared)
		}
	default:
		if _, err := os.Stat(s.file()); err != nil {
			return nil, noState(s.file(), fmt.Errorf("%w: %w", checkpoint.ErrNoState, err))
		}
		return checkpoint.OpenToRead(ctx, s.file())
	}
	if errors.Is(err, checkpoint.ErrNoState) {
		err = noState("state", err)
	}
	return store, err
}

// OpenThere opens a state that must be there.
func (s StatePlace) OpenThere(ctx context.Context) (*checkpoint.Store, error) {
	if s.DSN == "" && s.Table == "" {
		if _, err := os.Stat(s.file()); err != nil {
			return nil, noState(s.file(), fmt.Errorf("%w: %w", checkpoint.ErrNoState, err))
		}
	}
	return s.Open(ctx, slog.New(slog.DiscardHandler))
}

func noState(place string, err error) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-ENV-005", Place: place, Err: err,
		Remedy: "run the pipelines first; or name the configuration file with -f, or the state directory with --dir",
	}
}

// processName tells this process from all others that are or were.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
}
