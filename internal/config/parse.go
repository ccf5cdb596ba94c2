package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/acequia-io/acequia/fault"
)

const (
	maxFile    = 1 << 20 // bytes: what is larger is no configuration
	maxNesting = 200     // the parser's time grows with its square
)

// Parse reads a file: its syntax, its references and the frame of its pipelines. lookup finds variables. What can be
// understood is in the file that it gives even when there are problems, so that plugins can be checked too.
func Parse(path string, text []byte, lookup func(name string) (string, bool)) (*File, Problems) {
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	return parse(path, text, &expander{lookup: lookup, read: readSecret})
}

func parse(path string, text []byte, e *expander) (*File, Problems) {
	s := newSource(path, strings.TrimPrefix(string(text), "\ufeff"))
	e.file = s
	l := &linter{file: &File{Path: path, file: s}, decoder: decoder{file: s}}
	root, problems := tree(s, len(text))
	l.problems = problems
	if root == nil {
		return l.file, l.problems
	}
	l.file.root = root
	e.backupKey(root)
	for _, p := range root.pairs {
		switch {
		case p.key.text == "tests" || strings.HasPrefix(p.key.text, "x-"):
		case p.key.text == "pipelines" && p.value.kind == mapping:
			for _, pipeline := range p.value.pairs {
				e.pipeline(pipeline.value)
			}
		default:
			e.all(p.value)
		}
	}
	l.problems, l.unset = append(l.problems, e.problems...), e.unset
	l.top(root)
	l.problems.Sort()
	return l.file, l.problems
}

// pipeline expands all of a pipeline but its tests.
func (e *expander) pipeline(n *node) {
	if n.kind != mapping {
		e.all(n)
		return
	}
	for _, p := range n.pairs {
		if p.key.text != "tests" {
			e.all(p.value)
		}
	}
}

// backupKey expands the key of backups. That it has no value is a warning for all but those who need it, see Backup.Unset.
func (e *expander) backupKey(root *node) {
	_, key, found := root.find(nil, []string{"backup", "encrypt", "key"})
	if !found {
		return
	}
	before := len(e.problems)
	e.all(key)
	for i := range e.problems[before:] {
		if p := &e.problems[before+i]; p.Code == CodeUnset {
			e.unset = &fault.Error{Class: fault.Fatal, Code: p.Code, Place: fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column), Err: errors.New(p.Message), Remedy: p.Remedy}
			p.Warning = true
		}
	}
}

// tree parses the text; nil when its syntax is broken.
func tree(s *source, size int) (root *node, problems Problems) {
	text := strings.Join(s.lines, "\n") + "\n"
	syntax := func(line, column, width int, remedy, message string) (*node, Problems) {
		return nil, Problems{s.problem(CodeSyntax, line, column, width, remedy, message)}
	}
	if size > maxFile {
		return syntax(1, 1, 1, "split it", fmt.Sprintf("the file has %d bytes, more than %d", size, maxFile))
	}
	for i, l := range s.lines {
		for at, c := range l {
			if c == utf8.RuneError && !strings.HasPrefix(l[at:], "\ufffd") || c == 0 {
				return syntax(i+1, 1+utf8.RuneCountInString(l[:at]), 1, "save the file as UTF-8", "this is no text in UTF-8")
			}
		}
	}
	if line, column := tooDeep(s.lines); line > 0 {
		return syntax(line, column, 1, "", fmt.Sprintf("more than %d brackets or dashes are open here", maxNesting))
	}
	docs, err := parsed(text)
	if err != nil {
		e, ok := errors.AsType[yaml.Error](err)
		if !ok || e.GetToken() == nil {
			return syntax(1, 1, 1, "", strings.TrimSpace(err.Error()))
		}
		line, column, width := s.position(e.GetToken())
		message := e.GetMessage()
		if strings.Contains(message, "'\t'") {
			message = "a tab stands where a value or spaces must"
		}
		return syntax(line, column, width, syntaxRemedy(s.line(line), message), message)
	}
	r := &reader{file: s, anchors: map[string]*node{}}
	for _, doc := range docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if root != nil {
			r.problem(r.start(doc.Body), CodeSyntax, "put it into a file of its own", "a second document begins here")
			break
		}
		root = r.read(doc.Body)
	}
	switch {
	case root == nil:
		return syntax(1, 1, 1, "begin with version: 1", "the file is empty")
	case root.kind != mapping:
		r.problem(root, CodeWrong, "begin with version: 1", "want a mapping of version, sources, sinks and pipelines, found %s", root.shown())
		root = nil
	}
	return root, r.problems
}

// parsed calls the parser, which has been seen to fail hard on some broken texts.
func parsed(text string) (docs []*ast.DocumentNode, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the YAML cannot be read")
		}
	}()
	f, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	return f.Docs, nil
}

// tooDeep finds where brackets or dashes are nested deeper than any configuration; those in quotes and comments count too.
func tooDeep(lines []string) (line, column int) {
	open := 0
	for i, l := range lines {
		dashes := 0
		for at, c := range l {
			switch c {
			case '[', '{':
				open++
			case ']', '}':
				open = max(0, open-1)
			case '-', '?', ':':
				dashes++
			case ' ':
			default:
				dashes = 0
			}
			if open > maxNesting || dashes > maxNesting {
				return i + 1, 1 + utf8.RuneCountInString(l[:at])
			}
		}
	}
	return 0, 0
}

func syntaxRemedy(line, message string) string {
	switch {
	case strings.Contains(line, "${") && strings.Contains(message, "must be specified"):
		return "inside { } and [ ] a reference stands in quotes, as in \"${NAME}\""
	case strings.Contains(message, "end character of"):
		return "close the quote"
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces"
	case strings.Contains(message, "reserved character"), strings.Contains(message, "mapping value is not allowed"):
		return "put the value in quotes when it holds such characters, or look at the indentation"
	}
	return ""
}

// linter checks the frame of a file: all but what plugins decode.
type linter struct {
	decoder
	file  *File
	unset error // see Backup.Unset
}

func (l *linter) top(root *node) {
	keys := fileKeys{Backup: NewBackup()}
	l.structure(reflect.ValueOf(&keys).Elem(), root, first(root), "the file")
	_, has := root.get("version")
	switch v := keys.Version; {
	case !has:
		l.problem(first(root), CodeMissing, "write version: 1", "the file has no version")
	case v == nil || v.broken:
	default:
		if l.file.Version = 1; keys.Version.kind != scalar || keys.Version.text != "1" {
			l.problem(keys.Version, CodeWrong, "write version: 1", "version %q is not known", keys.Version.shown())
		}
	}
	l.file.State, l.file.Memory, l.file.API, l.file.Reports = keys.State, keys.Memory, keys.API, keys.Reports
	l.state(&keys.State)
	l.schedule(root, &keys.Schedule)
	l.file.Schedule = keys.Schedule
	l.file.Sources = l.blocks("source", keys.Sources)
	l.file.Sinks = l.blocks("sink", keys.Sinks)
	uses := uses{used: map[string]bool{}, unclear: map[string]bool{}, sources: keys.Sources.Names(), sinks: keys.Sinks.Names()}
	for _, e := range keys.Pipelines {
		if p := l.pipeline(e, &uses); p != nil {
			l.file.Pipelines = append(l.file.Pipelines, p)
		}
	}
	if _, ok := placeOf(keys.Reports, ""); !ok {
		k, v, _ := root.find(nil, []string{"reports"})
		l.problem(spot(k, v), CodeWrong, "write a path, file:///dir, or s3://bucket/prefix", "reports: %q is no place for reports", keys.Reports)
	}
	if _, there := root.get("backup"); there {
		l.file.Backup = keys.Backup
		keys.Backup.unset = l.unset
		l.backup(keys.Backup, &uses)
	}
	l.tests(keys.Tests)
	l.unused(root, "sources", "source", keys.Sources, &uses)
	l.unused(root, "sinks", "sink", keys.Sinks, &uses)
}

// first is where a file as a whole is pointed at.
func first(root *node) *node {
	return &node{line: root.line, column: root.column, width: root.width}
}

const nameRule = `^[a-z][a-z0-9_-]{0,62}$`

func (l *linter) name(key *node, what string) {
	if ok, err := regexp.MatchString(nameRule, key.text); err != nil || !ok {
		l.problem(key, CodeWrong, "write at most 63 of a-z, 0-9, _ and -, a letter first", "%q is no name for a %s", key.shown(), what)
	}
}

// keyOf gives the key of a name under a key of the file.
func keyOf(root *node, under, name string) *node {
	k, _, _ := root.find(root, []string{under, name})
	return k
}

func (l *linter) blocks(what string, all Ordered[*node]) Ordered[*Block] {
	var out Ordered[*Block]
	for _, e := range all {
		key, n := keyOf(l.file.root, what+"s", e.Name), e.Value
		l.name(key, what)
		b := &Block{Name: e.Name, what: what, file: l.decoder.file, key: key}
		t, ok := n.get("type")
		switch {
		case n.broken:
			continue
		case n.kind != mapping:
			l.wrong(n, b.title(), "a mapping with a type", "write "+e.Name+": { type: ... }")
			continue
		case !ok:
			l.problem(key, CodeMissing, "add type: ...", "%s has no type", b.title())
			continue
		case t.value.broken:
			continue
		case t.value.kind != scalar || t.value.text == "":
			l.wrong(t.value, "type", "the name of a "+what+" type", "")
			continue
		}
		b.Type, b.at = t.value.text, t.value
		rest := *n
		rest.pairs = slices.DeleteFunc(slices.Clone(n.pairs), func(p pair) bool { return p.key.text == "type" })
		b.node = &rest
		out = append(out, Entry[*Block]{Name: e.Name, Value: b})
	}
	return out
}

// uses gathers what pipelines refer to.
type uses struct {
	sources, sinks []string
	used           map[string]bool // kind and name; a name that a mistake seems to mean is used
	unclear        map[string]bool // kinds of which nothing is known to be unused
}

func (l *linter) unused(root *node, under, what string, all Ordered[*node], u *uses) {
	for _, e := range all {
		if !u.unclear[what] && !u.used[what+" "+e.Name] && len(l.file.Pipelines) > 0 {
			p := l.decoder.file.at(keyOf(root, under, e.Name), CodeUnused, "remove it, or name it in a pipeline",
				"no pipeline uses %s %s", what, e.Name)
			p.Warning = true
			l.problems = append(l.problems, p)
		}
	}
}
