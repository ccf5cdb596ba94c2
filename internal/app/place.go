package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
)

// StatePlace is where a state is kept.
type StatePlace struct {
	Dir string        // what is this process's alone; the state file too, where there is no DSN
	DSN config.Secret // of the database that several processes share; "": none
}

// StatePlace is where the state of the project is.
func (p *Project) StatePlace() StatePlace { return StatePlace{Dir: p.State, DSN: p.StateDSN} }

func (s StatePlace) file() string { return filepath.Join(s.Dir, "state.db") }

// Open opens the state, and makes it if need be.
func (s StatePlace) Open(ctx context.Context) (*checkpoint.Store, error) {
	if s.DSN != "" {
		return checkpoint.OpenPostgres(ctx, string(s.DSN))
	}
	return checkpoint.Open(ctx, s.file())
}

// OpenToRead opens the state beside processes that run. ACQ-ENV-005, and checkpoint.ErrNoState: nothing has run yet.
func (s StatePlace) OpenToRead(ctx context.Context) (*checkpoint.Store, error) {
	if s.DSN == "" {
		if _, err := os.Stat(s.file()); err != nil {
			return nil, noState(s.file(), fmt.Errorf("%w: %w", checkpoint.ErrNoState, err))
		}
		return checkpoint.OpenToRead(ctx, s.file())
	}
	store, err := checkpoint.OpenPostgresToRead(ctx, string(s.DSN))
	if errors.Is(err, checkpoint.ErrNoState) {
		err = noState("state", err)
	}
	return store, err
}

// OpenThere opens a state that must be there.
func (s StatePlace) OpenThere(ctx context.Context) (*checkpoint.Store, error) {
	if s.DSN == "" {
		if _, err := os.Stat(s.file()); err != nil {
			return nil, noState(s.file(), fmt.Errorf("%w: %w", checkpoint.ErrNoState, err))
		}
	}
	return s.Open(ctx)
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
