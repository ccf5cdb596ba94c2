package app

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

//go:embed templates/*.yaml
var templates embed.FS

// Templates names the configuration files that WriteTemplate can write.
func Templates() ([]string, error) {
	entries, err := templates.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names, nil
}

// WriteTemplate writes a commented configuration file to a path. One that is there is never overwritten.
func WriteTemplate(name, path string) error {
	text, err := templates.ReadFile("templates/" + name + ".yaml")
	if err != nil {
		known, listErr := Templates()
		return errors.Join(&fault.Error{
			Code: "ACQ-USE-008", Place: name, Err: errors.New("there is no template of this name"), Remedy: "use one of: " + strings.Join(known, ", "),
		}, listErr)
	}
	return WriteNew(path, text)
}

// WriteNew writes a configuration file. One that is there is never overwritten.
func WriteNew(path string, text []byte) (err error) {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &fault.Error{Code: "ACQ-ENV-007", Place: path, Err: err, Remedy: "name another file, or move that one away: nothing is overwritten"}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(text)
	return err
}
