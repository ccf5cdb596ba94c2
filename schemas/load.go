package schemas

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/acequia-io/acequia/fault"
)

// Load reads the declaration of a table. It is strict, and gives all mistakes at once, each with file:line:column; file
// is the name that they carry.
func Load(file string, text []byte) (*Table, error) {
	l := &loader{file: file, at: map[string]ast.Node{}}
	t := &Table{}
	tree, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	switch {
	case err != nil:
		if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
			p := e.GetToken().Position
			err = fmt.Errorf("%s:%d:%d: %s", file, p.Line, p.Column, e.GetMessage())
		} else {
			err = fmt.Errorf("%s: %w", file, err)
		}
		l.mistakes = append(l.mistakes, mistake{err: err})
	case len(tree.Docs) != 1 || tree.Docs[0].Body == nil:
		l.mistakes = append(l.mistakes, mistake{err: fmt.Errorf("%s:1:1: want one document that declares a table", file)})
	default:
		l.table(t, tree.Docs[0].Body)
		l.checkTable(t, tree.Docs[0].Body)
	}
	if len(l.mistakes) == 0 {
		if err := t.build(); err != nil {
			l.mistakes = append(l.mistakes, mistake{err: fmt.Errorf("%s:1:1: %w", file, err)})
		}
	}
	if len(l.mistakes) > 0 {
		return nil, &fault.Error{Code: "ACQ-SCHEMA-001", Err: l.joined(), Remedy: "correct the declaration of the table"}
	}
	return t, nil
}

// loader reads nodes and gathers mistakes.
type loader struct {
	file     string
	at       map[string]ast.Node // where fields, indexes and names of columns stand
	mistakes []mistake
}

type mistake struct {
	line, column int
	err          error
}

// joined gives the mistakes in the order of the file.
func (l *loader) joined() error {
	slices.SortStableFunc(l.mistakes, func(a, b mistake) int { return cmp.Or(a.line-b.line, a.column-b.column) })
	errs := make([]error, len(l.mistakes))
	for i, m := range l.mistakes {
		errs[i] = m.err
	}
	return errors.Join(errs...)
}

func (l *loader) mistake(n ast.Node, format string, args ...any) {
	p := n.GetToken().Position
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 { // its own token is the first colon
		p = m.Values[0].Key.GetToken().Position
	}
	err := fmt.Errorf("%s:%d:%d: %s", l.file, p.Line, p.Column, fmt.Sprintf(format, args...))
	l.mistakes = append(l.mistakes, mistake{p.Line, p.Column, err})
}

// entry is one key that a mapping may have.
type entry struct {
	name string
	must bool
	read func(ast.Node)
}

// mapping reads a mapping of known keys.
func (l *loader) mapping(n ast.Node, what string, entries ...entry) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		l.mistake(n, "%s: want a mapping", what)
		return
	}
	seen := map[string]bool{}
	for _, v := range m.Values {
		name := v.Key.GetToken().Value
		i := slices.IndexFunc(entries, func(e entry) bool { return e.name == name })
		switch {
		case i < 0:
			names := make([]string, len(entries))
			for i, e := range entries {
				names[i] = e.name
			}
			l.mistake(v.Key, "%s: unknown key %q; known are %s", what, name, strings.Join(names, ", "))
		case seen[name]:
			l.mistake(v.Key, "%s: key %q stands twice", what, name)
		default:
			entries[i].read(v.Value)
		}
		seen[name] = true
	}
	for _, e := range entries {
		if e.must && !seen[e.name] {
			l.mistake(n, "%s: %s is missing", what, e.name)
		}
	}
}

func (l *loader) sequence(n ast.Node, what string, each func(ast.Node)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		l.mistake(n, "%s: want a list", what)
		return
	}
	for _, v := range s.Values {
		each(v)
	}
}

func (l *loader) text(n ast.Node, what string) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value)
	}
	l.mistake(n, "%s: want text; put it in quotes when it looks like something else", what)
	return ""
}

func (l *loader) bool(n ast.Node, what string) bool {
	if b, ok := n.(*ast.BoolNode); ok {
		return b.Value
	}
	l.mistake(n, "%s: want true or false", what)
	return false
}

func (l *loader) count(n ast.Node, what string) int {
	if _, ok := n.(*ast.IntegerNode); ok {
		if v, err := strconv.ParseInt(n.GetToken().Value, 10, 31); err == nil && v >= 0 {
			return int(v)
		}
	}
	l.mistake(n, "%s: want a whole number from 0", what)
	return 0
}

// bilingual reads a text in both languages.
func (l *loader) bilingual(n ast.Node, what string) Text {
	var t Text
	l.mapping(n, what,
		entry{"en", true, func(n ast.Node) { t.EN = l.text(n, what) }},
		entry{"es", true, func(n ast.Node) { t.ES = l.text(n, what) }})
	return t
}

// bound reads a number, "now" (the current year), "now+2" or "now-2".
func (l *loader) bound(n ast.Node, what string) Bound {
	text := n.GetToken().Value
	b := Bound{Set: true}
	if rest, ok := strings.CutPrefix(text, "now"); ok {
		b.FromNow = true
		if rest == "" {
			return b
		}
		text = rest
		if rest[0] != '+' && rest[0] != '-' {
			text = "?"
		}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		l.mistake(n, "%s: want a whole number, or a year as now, now+2 or now-2", what)
	}
	b.Value = v
	return b
}

func (l *loader) names(n ast.Node, what string) []string {
	var names []string
	l.sequence(n, what, func(n ast.Node) {
		name := l.text(n, what)
		names = append(names, name)
		l.at[what+" "+name] = n
	})
	return names
}

func (l *loader) table(t *Table, n ast.Node) {
	l.mapping(n, "table",
		entry{"table", true, func(n ast.Node) {
			t.Name = l.text(n, "table")
			if t.Name != "" && !nameOf.MatchString(t.Name) {
				l.mistake(n, "table: the name %q must match %s", t.Name, nameOf)
			}
		}},
		entry{"title", true, func(n ast.Node) { t.Title = l.bilingual(n, "title") }},
		entry{"noun", true, func(n ast.Node) { t.Noun = l.bilingual(n, "noun") }},
		entry{"key", true, func(n ast.Node) { t.Key = l.names(n, "key") }},
		entry{"fields", true, func(n ast.Node) {
			l.sequence(n, "fields", func(n ast.Node) {
				t.Fields = append(t.Fields, l.field(n))
			})
		}},
		entry{"indexes", false, func(n ast.Node) { t.Indexes = l.indexes(n) }},
		entry{"lake", false, func(n ast.Node) {
			l.mapping(n, "lake", entry{"partition", false, func(n ast.Node) { t.Partition = l.names(n, "partition") }})
		}})
}

func (l *loader) indexes(n ast.Node) []Index {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		l.mistake(n, "indexes: want a mapping of names to lists of columns")
		return nil
	}
	var out []Index
	for _, v := range m.Values {
		x := Index{Name: v.Key.GetToken().Value}
		if !nameOf.MatchString(x.Name) || slices.ContainsFunc(out, func(o Index) bool { return o.Name == x.Name }) {
			l.mistake(v.Key, "indexes: the name %q stands twice or does not match %s", x.Name, nameOf)
		}
		x.Columns = l.names(v.Value, "index "+x.Name)
		out = append(out, x)
	}
	return out
}

func (l *loader) field(n ast.Node) Field {
	var f Field
	l.mapping(n, "field",
		entry{"name", true, func(n ast.Node) { f.Name = l.text(n, "name") }},
		entry{"type", true, func(n ast.Node) { f.Type = l.typeOf(n) }},
		entry{"generated", false, func(n ast.Node) { f.Generated = l.bool(n, "generated") }},
		entry{"required", false, func(n ast.Node) { f.Required = l.bool(n, "required") }},
		entry{"min_length", false, func(n ast.Node) { f.MinLength = l.count(n, "min_length") }},
		entry{"max_length", false, func(n ast.Node) { f.MaxLength = l.count(n, "max_length") }},
		entry{"min", false, func(n ast.Node) { f.Min = l.bound(n, "min") }},
		entry{"max", false, func(n ast.Node) { f.Max = l.bound(n, "max") }},
		entry{"precision", false, func(n ast.Node) { f.Precision = l.count(n, "precision") }},
		entry{"scale", false, func(n ast.Node) { f.Scale = l.count(n, "scale") }},
		entry{"options", false, func(n ast.Node) {
			l.sequence(n, "options", func(n ast.Node) { f.Options = append(f.Options, l.option(n)) })
		}},
		entry{"label", true, func(n ast.Node) { f.Label = l.bilingual(n, "label") }},
		entry{"help", false, func(n ast.Node) { f.Help = l.bilingual(n, "help") }},
		entry{"widget", false, func(n ast.Node) { f.Widget = Widget(l.text(n, "widget")) }})
	l.checkField(&f, n)
	if l.at["field "+f.Name] != nil {
		l.mistake(n, "field %s: stands twice", f.Name)
	}
	l.at["field "+f.Name] = n
	return f
}

func (l *loader) typeOf(n ast.Node) Type {
	name := l.text(n, "type")
	for i, t := range types {
		if i > 0 && t.name == name {
			return Type(i)
		}
	}
	names := make([]string, 0, len(types))
	for _, t := range types[1:] {
		names = append(names, t.name)
	}
	l.mistake(n, "type: unknown type %q; known are %s", name, strings.Join(names, ", "))
	return 0
}

// option reads a value that is its own label, or {value, en, es}; a label that is missing is the value.
func (l *loader) option(n ast.Node) Option {
	if _, ok := n.(*ast.MappingNode); !ok {
		v := l.text(n, "options")
		return Option{Value: v, Label: Text{EN: v, ES: v}}
	}
	var o Option
	l.mapping(n, "option",
		entry{"value", true, func(n ast.Node) { o.Value = l.text(n, "value"); o.Label = Text{EN: o.Value, ES: o.Value} }},
		entry{"en", false, func(n ast.Node) { o.Label.EN = l.text(n, "en") }},
		entry{"es", false, func(n ast.Node) { o.Label.ES = l.text(n, "es") }})
	return o
}

var nameOf = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
