package config

import (
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

type kind uint8

const (
	scalar kind = iota
	null
	mapping
	list
)

type style uint8

const (
	plain style = iota
	single
	double
	literal // a | block
	folded  // a > block
)

// maxNodes bounds what aliases can make of a small file.
const maxNodes = 100_000

// node is a value of the file with its place. Aliases share nodes.
type node struct {
	kind     kind
	style    style
	line     int    // from 1
	column   int    // from 1, in characters
	width    int    // characters, of the first line of it
	raw      string // as it stands in the file, with its quotes; "" when that is more than one line
	text     string // of a scalar, expanded
	written  string // of a scalar, before its references were expanded
	size     int    // nodes in it, with those that aliases stand for
	secret   bool   // from a reference that keeps it secret
	broken   bool   // its mistake was told already
	done     bool   // its references were expanded
	implicit bool   // a null for which nothing stands in the file
	pairs    []pair
	items    []*node
}

type pair struct{ key, value *node }

// expanded says that the value stands elsewhere than in the file.
func (n *node) expanded() bool { return n.text != n.written || n.secret }

// shown writes the value for a message: what a reference stands for is not printed.
func (n *node) shown() string {
	text := n.text
	switch n.kind {
	case mapping:
		return "a mapping"
	case list:
		return "a list"
	case null:
		return "nothing"
	case scalar:
		if n.expanded() {
			text = n.written
		}
	}
	if r := []rune(text); len(r) > 60 {
		text = string(r[:57]) + "..."
	}
	return text
}

// get gives the pair of a key.
func (n *node) get(name string) (pair, bool) {
	for _, p := range n.pairs {
		if p.key.text == name {
			return p, true
		}
	}
	return pair{}, false
}

// reader makes nodes of the parser's tree.
type reader struct {
	file     *source
	anchors  map[string]*node
	size     int
	problems Problems
}

func (r *reader) problem(n *node, code, remedy, format string, args ...any) {
	r.problems = append(r.problems, r.file.at(n, code, remedy, format, args...))
}

func (r *reader) read(n ast.Node) *node {
	out := r.convert(n)
	if out.size == 0 { // an alias gives a node that has its size
		out.size = 1
		for _, p := range out.pairs {
			out.size += 1 + p.value.size
		}
		for _, v := range out.items {
			out.size += v.size
		}
		r.size++
	}
	return out
}

func (r *reader) convert(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(n, n.Values)
	case *ast.MappingValueNode:
		return r.mapping(n, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out := r.place(n, list)
		for _, v := range n.Values {
			out.items = append(out.items, r.read(v))
		}
		return out
	case *ast.AnchorNode:
		return r.anchor(n)
	case *ast.AliasNode:
		return r.alias(n)
	case *ast.TagNode:
		return r.tag(n)
	case *ast.MappingKeyNode:
		return r.read(n.Value)
	case *ast.LiteralNode:
		return r.block(n)
	case *ast.StringNode:
		return r.text(n)
	case *ast.NullNode:
		out := r.place(n, null)
		out.implicit = n.Token.Type == token.ImplicitNullType
		return out
	case ast.ScalarNode:
		out := r.place(n, scalar)
		out.text = n.GetToken().Value
		out.written = out.text
		return out
	}
	return &node{kind: null, line: 1, column: 1, width: 1, implicit: true} // nothing, or a comment
}

func (r *reader) anchor(n *ast.AnchorNode) *node {
	value := r.read(n.Value)
	if value.implicit {
		value.line, value.column, value.width = r.file.position(n.GetToken())
	}
	if n.Name != nil && n.Name.GetToken() != nil {
		r.anchors[n.Name.GetToken().Value] = value
	}
	return value
}

func (r *reader) tag(n *ast.TagNode) *node {
	value := r.read(n.Value)
	if tag := n.GetToken().Value; tag != "!!str" || value.kind != scalar {
		r.problem(r.place(n, scalar), CodeWrong, "remove it", "the tag %s is not understood", tag)
		value.broken = true
	}
	return value
}

func (r *reader) block(n *ast.LiteralNode) *node {
	out := r.place(n, scalar)
	out.raw, out.style = "", folded
	if n.Start.Type == token.LiteralType {
		out.style = literal
	}
	if n.Value != nil {
		out.text = n.Value.Value
	}
	out.written = out.text
	return out
}

func (r *reader) text(n *ast.StringNode) *node {
	out := r.place(n, scalar)
	out.text, out.written = n.Value, n.Value
	switch n.Token.Type {
	case token.SingleQuoteType:
		out.style = single
	case token.DoubleQuoteType:
		out.style = double
	default:
		return out
	}
	out.raw = quoted([]rune(r.file.line(out.line)), out.column-1)
	if out.raw != "" {
		out.width = utf8.RuneCountInString(out.raw)
	}
	return out
}

// quoted gives the quoted text that begins at a place of a line; "" when it does not end there. The scanner's own copy of it
// has lost its escapes.
func quoted(line []rune, from int) string {
	if from < 0 || from >= len(line) || line[from] != '"' && line[from] != '\'' {
		return ""
	}
	for i := from + 1; i < len(line); i++ {
		switch {
		case line[i] == '\\' && line[from] == '"':
			i++
		case line[i] != line[from]:
		case line[from] == '\'' && i+1 < len(line) && line[i+1] == '\'':
			i++
		default:
			return string(line[from : i+1])
		}
	}
	return ""
}

// start makes a node at the beginning of the parser's node: the token of a mapping in block style is its first colon.
func (r *reader) start(n ast.Node) *node {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && (m.Start == nil || m.Start.Type != token.MappingStartType) {
		return r.place(m.Values[0].Key, scalar)
	}
	return r.place(n, scalar)
}

// place makes a node at the place of the parser's node.
func (r *reader) place(n ast.Node, k kind) *node {
	out := &node{kind: k}
	t := n.GetToken()
	out.line, out.column, out.width = r.file.position(t)
	if t != nil {
		if raw := strings.TrimSpace(t.Origin); !strings.ContainsAny(raw, "\r\n") {
			out.raw = raw
		}
	}
	return out
}

func (r *reader) mapping(n ast.Node, values []*ast.MappingValueNode) *node {
	out := r.place(n, mapping)
	var merged []*node
	for _, v := range values {
		key := r.read(v.Key)
		value := r.read(v.Value)
		if value.implicit {
			value.line, value.column, value.width = key.line, key.column, key.width
		}
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, r.merge(value)...)
			continue
		}
		switch first, twice := out.get(key.text); {
		case key.kind != scalar:
			r.problem(key, CodeWrong, "write a name", "a key is text, found %s", key.shown())
		case twice:
			r.problem(key, CodeDuplicate, "keep one of them", "the key %s stands twice, first in line %d", key.text, first.key.line)
		default:
			out.pairs = append(out.pairs, pair{key, value})
		}
	}
	if first := n.GetToken(); len(out.pairs) > 0 && (first == nil || first.Type != token.MappingStartType) {
		k := out.pairs[0].key // the token of a mapping in block style is its first colon
		out.line, out.column, out.width = k.line, k.column, k.width
	}
	for _, m := range merged {
		for _, p := range m.pairs {
			if _, known := out.get(p.key.text); !known {
				out.pairs = append(out.pairs, p)
			}
		}
	}
	return out
}

// merge gives the mappings that a merge key stands for, the strongest first.
func (r *reader) merge(value *node) []*node {
	all := []*node{value}
	if value.kind == list {
		all = value.items
	}
	var out []*node
	for _, m := range all {
		switch {
		case m.broken:
		case m.kind != mapping:
			r.problem(m, CodeWrong, "write an alias of a mapping, such as *defaults", "<<: want a mapping, found %s", m.shown())
		default:
			out = append(out, m)
		}
	}
	return out
}

func (r *reader) alias(n *ast.AliasNode) *node {
	at := r.place(n, scalar)
	name := ""
	if n.Value != nil && n.Value.GetToken() != nil {
		name = n.Value.GetToken().Value
	}
	at.width = 1 + utf8.RuneCountInString(name)
	at.broken = true
	value, ok := r.anchors[name]
	switch {
	case !ok:
		r.problem(at, CodeReference, "", "there is no anchor &%s above", name)
		return at
	case r.size+value.size > maxNodes:
		r.problem(at, CodeWrong, "write it out, or use fewer aliases", "aliases make more than %d values of the file", maxNodes)
		return at
	}
	r.size += value.size
	return value
}

// flow writes the value in one line of YAML's flow style, with secrets and expanded references as the file writes them.
func (n *node) flow() string {
	switch n.kind {
	case mapping:
		parts := make([]string, len(n.pairs))
		for i, p := range n.pairs {
			parts[i] = p.key.flow() + ": " + p.value.flow()
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case list:
		parts := make([]string, len(n.items))
		for i, item := range n.items {
			parts[i] = item.flow()
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case null:
		return ""
	case scalar:
	}
	return n.written
}
