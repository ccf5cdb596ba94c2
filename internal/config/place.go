package config

import (
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// Decode fills a plugin's configuration, a pointer to a struct that holds its defaults, and gives every mistake at once.
func (b *Block) Decode(into any) Problems {
	v := reflect.ValueOf(into)
	d := &decoder{file: b.file}
	if v.Kind() != reflect.Pointer || v.IsNil() {
		d.problem(b.key, CodePlugin, "report it to who made the plugin", "%s: nothing can be read into a %T", b.title(), into)
		return d.problems
	}
	n := b.node
	if n.kind == null { // a type alone is a type with all defaults
		n = &node{kind: mapping, line: b.key.line, column: b.key.column, width: b.key.width}
	}
	d.value(v.Elem(), n, b.key, field{name: b.title()})
	d.problems.Sort()
	return d.problems
}

// UnknownType is the mistake of a type that no plugin has.
func (b *Block) UnknownType(known []string) Problem {
	return b.file.at(b.at, CodeType, suggest(b.Type, known), "unknown %s type %q", b.what, b.at.shown())
}

// Place puts an error of the plugin at its place in the file: every FieldError in it at the value that its path names, all
// else at the block. Of a value whose mistake is told already, such as a variable that is not set, nothing is said.
func (b *Block) Place(err error) Problems { return b.PlaceBut(err, nil) }

// PlaceBut is Place without those that told says to be explained by another mistake: it gets the path of the value and, if
// that stands in the file, its text; keys that are not written are not in the path.
func (b *Block) PlaceBut(err error, told func(path, text string, stands bool) bool) Problems {
	if err == nil {
		return nil
	}
	var out Problems
	b.place(&out, err, CodePlugin, "", told)
	out.Sort()
	return out
}

// isTold says whether a mistake is explained by another one.
func (b *Block) isTold(e *FieldError, told func(path, text string, stands bool) bool) bool {
	_, v, found := b.node.find(b.key, e.Path)
	if found && v.broken {
		return true
	}
	path, text := e.Path, ""
	if found {
		path, text = b.node.said(path), v.flow()
	}
	return told != nil && told(strings.Join(path, "."), text, found)
}

func (b *Block) place(out *Problems, err error, code, remedy string, told func(path, text string, stands bool) bool) {
	switch e := err.(type) { //nolint:errorlint // each layer is taken off by itself
	case *FieldError:
		if b.isTold(e, told) {
			return
		}
		*out = append(*out, b.fieldError(e, code, remedy))
		return
	case *fault.Error:
		if e.Code != "" {
			code = e.Code
		}
		if e.Remedy != "" {
			remedy = e.Remedy
		}
		if e.Err != nil {
			b.place(out, e.Err, code, remedy, told)
			return
		}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if one != nil {
				b.place(out, one, code, remedy, told)
			}
		}
		return
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		if _, ok := errors.AsType[*FieldError](inner); ok {
			b.place(out, inner, code, remedy, told)
			return
		}
	}
	*out = append(*out, b.file.at(b.key, code, remedy, "%s: %v", b.title(), err))
}

func (b *Block) fieldError(e *FieldError, code, remedy string) Problem {
	out := b.placed(e, code, remedy)
	out.Warning = e.Warning
	return out
}

func (b *Block) placed(e *FieldError, code, remedy string) Problem {
	if e.Remedy != "" {
		remedy = e.Remedy
	}
	bare := *e
	bare.Remedy = ""
	k, v, found := b.node.find(b.key, e.Path)
	if found {
		bare.Path = b.node.said(e.Path)
		if len(bare.Path) == 0 && len(e.Path) > 0 {
			bare.Path = []string{b.Type}
		}
	}
	switch {
	case len(e.Path) == 1 && e.Path[0] == "type" && b.what != "step":
		return b.file.at(b.at, code, remedy, "%s", bare.Error())
	case !found:
		return b.file.at(k, code, remedy, "%s", bare.Error())
	case e.Offset > 0 && !v.expanded():
		return b.file.inside(v, e.Offset, 0, code, remedy, bare.Error())
	}
	return b.file.at(spot(k, v), code, remedy, "%s", bare.Error())
}

// said gives the part of a path that the file has: a key whose value stands in place of the mapping is not written.
func (n *node) said(path []string) []string {
	var out []string
	for i, name := range path {
		before, _, _ := n.find(nil, path[:i])
		after, _, _ := n.find(nil, path[:i+1])
		if before != after {
			out = append(out, name)
		}
	}
	return out
}

// find follows a path of keys and indexes. A scalar or list stands for the mapping in whose place it is, and a scalar for
// the list in whose place it is. What is not found gives the key of the last part that was.
func (n *node) find(key *node, path []string) (k, v *node, found bool) {
	k, v = key, n
	for _, name := range path {
		index, err := strconv.Atoi(name)
		switch p, ok := v.get(name); {
		case v.kind == null || v.kind == mapping && !ok:
			return k, v, false
		case v.kind == mapping:
			k, v = p.key, p.value
		case v.kind == list && err == nil && index >= 0 && index < len(v.items):
			v = v.items[index]
			k = v
		}
	}
	return k, v, true
}
