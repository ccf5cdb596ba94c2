package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Setting gives the text that stands at a path of the settings, with its variables, for who asks for a setting of a plugin without knowing its
// struct; "": there is none. A value that has a mistake, such as a variable that is not set, or that is a secret, is an error.
func (b *Block) Setting(path ...string) (string, error) {
	n := b.inner(path)
	switch {
	case n == nil || n.kind == null:
		return "", nil
	case n.broken:
		return "", fmt.Errorf("%s has no value here: set its variable, or mend it", strings.Join(path, ".")) // Place says nothing of the value: its mistake is told already
	case n.secret:
		return "", At(errors.New("is a secret here, and is told to nobody: write ${NAME} in place of ${env:NAME}"), path...)
	case n.kind != scalar:
		return "", At(errors.New("want a text, found "+n.shown()), path...)
	}
	return n.text, nil
}

// Names gives the keys of the mapping that stands at a path of the settings, in their order; of a list its indexes.
func (b *Block) Names(path ...string) []string {
	n := b.inner(path)
	if n == nil {
		return nil
	}
	var out []string
	for _, p := range n.pairs {
		out = append(out, p.key.text)
	}
	for i := range n.items {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// Has says whether anything stands at a path of the settings.
func (b *Block) Has(path ...string) bool { return b.inner(path) != nil }

// inner follows the path through mappings and lists; nil: nothing is there.
func (b *Block) inner(path []string) *node {
	n := b.node
	for _, name := range path {
		if n == nil {
			return nil
		}
		p, ok := n.get(name)
		i, err := strconv.Atoi(name)
		switch {
		case ok:
			n = p.value
		case err == nil && i >= 0 && i < len(n.items):
			n = n.items[i]
		default:
			return nil
		}
	}
	return n
}
