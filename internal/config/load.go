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

// ReportsAt is the folder of the reports, or its address in S3; "": none are written.
func (f *File) ReportsAt() string {
	if f.Reports == "" {
		return ""
	}
	at, ok := placeOf(f.Reports, filepath.Dir(f.Path))
	if !ok {
		return "" // the linter has said so
	}
	return at
}

// across finds what two files declare both.
func across(files []*File) Problems {
	d := &declared{first: map[string]*node{}, where: map[string]string{}, values: map[string]string{}}
	for _, f := range files {
		d.names(f)
		d.settings(f)
	}
	return d.problems
}

// declared is what files have declared so far.
type declared struct {
	problems Problems
	first    map[string]*node
	where    map[string]string // the file, of a name or a setting
	values   map[string]string // of settings
}

func (d *declared) names(f *File) {
	for _, b := range f.Sources {
		d.once(f, "source", b.Name, b.Value.key)
	}
	for _, b := range f.Sinks {
		d.once(f, "sink", b.Name, b.Value.key)
	}
	for _, p := range f.Pipelines {
		d.once(f, "pipeline", p.Name, p.key)
	}
}

// settings are those of the whole process.
func (d *declared) settings(f *File) {
	if f.root == nil {
		return
	}
	if f.State.Folder != "" {
		d.same(f, "state", f.folder(f.State.Folder)+" "+string(f.State.DSN))
	} else if f.State.DSN != "" {
		d.same(f, "state", " "+string(f.State.DSN))
	}
	if f.Reports != "" {
		d.same(f, "reports", f.ReportsAt())
	}
	if f.Backup != nil {
		d.same(f, "backup", f.Path)
	}
	for _, key := range []string{"api", "schedule"} { // in one file
		if k, _, ok := f.root.find(nil, []string{key}); ok {
			d.once(f, "the setting", key, k)
		}
	}
	if f.Memory != 0 {
		d.same(f, "memory", f.Memory.String())
	}
}

// once takes a name that one file may declare.
func (d *declared) once(f *File, what, name string, at *node) {
	id := what + " " + name
	if n, known := d.first[id]; known {
		d.problems = append(d.problems, f.file.at(at, CodeDuplicate, "give one of them another name", "%s %s stands in %s:%d too",
			what, name, d.where[id], n.line))
		return
	}
	d.first[id], d.where[id] = at, f.Path
}

// same takes a setting that several files may declare, alike.
func (d *declared) same(f *File, name, value string) {
	k, v, ok := f.root.find(nil, []string{name})
	if !ok || value == "" {
		return
	}
	if w, known := d.where[name]; known && w != f.Path && value != d.values[name] {
		d.problems = append(d.problems, f.file.at(spot(k, v), CodeDuplicate, "set it in one file: it is of the whole process",
			"%s differs from that in %s", name, w))
		return
	}
	d.where[name], d.values[name] = f.Path, value
}
