package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/acequia-io/acequia/fault"
)

// Dir is a state directory. One process holds it at a time.
type Dir struct {
	Path string
	lock *os.File
}

// OpenDir creates the directory if need be and takes it: a second process is refused.
func OpenDir(path string) (*Dir, error) {
	d := &Dir{Path: path}
	if err := os.MkdirAll(d.Path, 0o750); err != nil {
		return nil, dirError(d.Path, err)
	}
	lock, err := os.OpenFile(d.file("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dirError(d.Path, err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := ""
		if at, readErr := ReadAddress(d.Path); readErr == nil {
			holder = fmt.Sprintf(", process %d at %s", at.PID, at.URL)
		}
		return nil, errors.Join(&fault.Error{
			Class: fault.Fatal, Code: "ACQ-ENV-002", Place: d.Path,
			Err:    errors.New("another acequia process holds this directory" + holder),
			Remedy: "stop it, or give another --dir; acequia serve FILE is the API and the schedule in one process",
		}, lock.Close())
	}
	if err != nil {
		return nil, errors.Join(dirError(d.Path, err), lock.Close())
	}
	d.lock = lock
	return d, nil
}

func dirError(path string, err error) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-ENV-001", Place: path, Err: err,
		Remedy: "give a directory that this user may write, with free space",
	}
}

func (d *Dir) file(name string) string { return filepath.Join(d.Path, name) }

// Lake is the root of the lake's files.
func (d *Dir) Lake() string { return LakeOf(d.Path) }

// LakeOf is the root of the lake's files in a state directory.
func LakeOf(path string) string { return filepath.Join(path, "lake") }

// ResultsOf is where query results are written, apart from the lake.
func ResultsOf(path string) string { return filepath.Join(path, "results") }

// Address is where the process that holds a directory answers.
type Address struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
}

// announce writes the address for other commands to find.
func (d *Dir) announce(url string) error {
	text, err := json.Marshal(Address{PID: os.Getpid(), URL: url})
	if err != nil {
		return fmt.Errorf("write address: %w", err)
	}
	if err := os.WriteFile(d.file("address.json"), text, 0o600); err != nil {
		return dirError(d.Path, err)
	}
	return nil
}

// ReadAddress finds the process that holds a directory. It may have died since: ask it.
func ReadAddress(path string) (Address, error) {
	var at Address
	text, err := os.ReadFile(filepath.Join(path, "address.json")) //nolint:gosec // the user's own directory
	if err != nil {
		return at, fmt.Errorf("read address: %w", err)
	}
	if err := json.Unmarshal(text, &at); err != nil {
		return at, fmt.Errorf("read address: %w", err)
	}
	return at, nil
}

// Close lets the directory go.
func (d *Dir) Close() error {
	err := os.Remove(d.file("address.json"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.lock.Close())
}
