package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// Load reads files, and of folders the files that end in .yaml or .yml, by name. It also checks what files share: names and
// the settings of the process. The error is of what cannot be read.
func Load(paths []string, lookup func(name string) (string, bool)) ([]*File, Problems, error) {
	names, err := Files(paths)
	if err != nil {
		return nil, nil, err
	}
	var files []*File
	var problems Problems
	for _, name := range names {
		text, err := os.ReadFile(name) //nolint:gosec // a file that the user named
		if err != nil {
			return nil, nil, unreadable(name, err)
		}
		f, p := Parse(name, text, lookup)
		files = append(files, f)
		problems = append(problems, p...)
	}
	problems = append(problems, across(files)...)
	problems.Sort()
	return files, problems, nil
}

func unreadable(name string, err error) error {
	return &fault.Error{
		Code: "ACQ-ENV-006", Place: name, Err: err,
		Remedy: "name a configuration file that this user may read, or a folder of them",
	}
}

// Files gives the files that Load reads, each once.
func Files(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, unreadable(path, err)
		}
		found := []string{path}
		if info.IsDir() {
			if found, err = folder(path); err != nil {
				return nil, err
			}
		}
		for _, name := range found {
			if !slices.ContainsFunc(out, func(o string) bool { return filepath.Clean(o) == filepath.Clean(name) }) {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// folder gives the configuration files in a folder.
func folder(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var found []string
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if (ext == ".yaml" || ext == ".yml") && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			found = append(found, filepath.Join(path, e.Name()))
		}
	}
	if len(found) == 0 {
		return nil, &fault.Error{
			Code: "ACQ-CFG-012", Place: path, Err: errors.New("no file here ends in .yaml or .yml"),
			Remedy: "name a configuration file, or a folder of them",
		}
	}
	return found, nil
}

// folder gives a folder that the file names: a relative one starts at its own.
func (f *File) folder(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(f.Path), path)
}

// across finds what two files declare both.
func across(files []*File) Problems {
	var out Problems
	first := map[string]*node{}
	where := map[string]string{}
	twice := func(f *File, what, name string, at *node) {
		id := what + " " + name
		if n, known := first[id]; known {
			out = append(out, f.file.at(at, CodeDuplicate, "give one of them another name", "%s %s stands in %s:%d too",
				what, name, where[id], n.line))
			return
		}
		first[id], where[id] = at, f.Path
	}
	setting := func(f *File, name, value string) {
		if f.root == nil || value == "" {
			return
		}
		k, v, ok := f.root.find(nil, []string{name})
		if !ok {
			return
		}
		if w, known := where[name]; known && w != f.Path && value != where[name+" value"] {
			out = append(out, f.file.at(spot(k, v), CodeDuplicate, "set it in one file: it is of the whole process",
				"%s differs from that in %s", name, w))
			return
		}
		where[name], where[name+" value"] = f.Path, value
	}
	for _, f := range files {
		for _, b := range f.Sources {
			twice(f, "source", b.Name, b.Value.key)
		}
		for _, b := range f.Sinks {
			twice(f, "sink", b.Name, b.Value.key)
		}
		for _, p := range f.Pipelines {
			twice(f, "pipeline", p.Name, p.key)
		}
		if f.State != "" {
			setting(f, "state", f.folder(f.State))
		}
		if f.Reports != "" {
			setting(f, "reports", f.folder(f.Reports))
		}
		if f.Backup != nil {
			setting(f, "backup", f.Path)
		}
		for _, key := range []string{"api", "schedule"} { // of the whole process, in one file
			if f.root != nil {
				if k, _, ok := f.root.find(nil, []string{key}); ok {
					twice(f, "the setting", key, k)
				}
			}
		}
		if f.Memory != 0 {
			setting(f, "memory", f.Memory.String())
		}
	}
	return out
}
