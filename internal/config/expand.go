package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds defaults inside defaults.
const maxDepth = 8

// maxSecret bounds a file that a reference names, in bytes.
const maxSecret = 1 << 20

// expander puts values in place of references.
type expander struct {
	file     *source
	lookup   func(string) (string, bool)
	read     func(path string) ([]byte, error)
	problems Problems
	unset    error // the key of backups has no value, for this reason
}

// mistake is a reference that has no value: its place is in characters of the scalar.
type mistake struct {
	offset, width         int
	code, remedy, message string
}

func wrongReference(remedy, format string, args ...any) *mistake {
	return &mistake{code: CodeWrong, remedy: remedy, message: fmt.Sprintf(format, args...)}
}

func unnamed(name string) *mistake {
	return wrongReference("write ${NAME}; $${ stands for the characters themselves", "%q is no name of a variable", name)
}

func unset(name, remedy string) *mistake {
	return &mistake{code: CodeUnset, remedy: remedy, message: "the variable " + name + " is not set"}
}

// all expands every scalar of a node, once.
func (e *expander) all(n *node) {
	if n.done {
		return
	}
	n.done = true
	for _, p := range n.pairs {
		e.all(p.value)
	}
	for _, v := range n.items {
		e.all(v)
	}
	if n.kind == scalar && !n.broken && strings.Contains(n.text, "$") {
		e.scalar(n)
	}
}

func (e *expander) scalar(n *node) {
	if scheme, name, ok := whole(n.text); ok {
		text, err := e.secret(scheme, name)
		if err != nil {
			err.width = utf8.RuneCountInString(n.text)
			e.problem(n, err)
			return
		}
		n.text, n.secret = text, true
		e.file.hide(text)
		return
	}
	text, err := e.text(n.text, 0, 0)
	if err != nil {
		e.problem(n, err)
		return
	}
	n.text = text
}

func (e *expander) problem(n *node, m *mistake) {
	n.broken = true
	e.problems = append(e.problems, e.file.inside(n, m.offset, m.width, m.code, m.remedy, m.message))
}

// whole takes a scalar apart that is one reference with a scheme, as ${env:NAME} is.
func whole(text string) (scheme, name string, ok bool) {
	if !strings.HasPrefix(text, "${") || closing(text) != len(text)-1 {
		return "", "", false
	}
	return schemed(text[2 : len(text)-1])
}

func schemed(inner string) (scheme, name string, ok bool) {
	scheme, name, ok = strings.Cut(inner, ":")
	if !ok || scheme == "" || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "?") {
		return "", "", false
	}
	return scheme, name, true
}

// closing finds the brace that closes the one with which the text begins, after the $; -1: none does.
func closing(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "$$"):
			i++
		case strings.HasPrefix(text[i:], "${"):
			depth++
			i++
		case text[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// secret reads what a whole scalar refers to.
func (e *expander) secret(scheme, name string) (string, *mistake) {
	switch scheme {
	case "env":
		if !isVariable(name) {
			return "", unnamed(name)
		}
		text, ok := e.lookup(name)
		if !ok || text == "" {
			return "", unset(name, "set it where acequia starts")
		}
		return text, nil
	case "file":
		if name != "" && !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(e.file.path), name)
		}
		text, err := e.read(name)
		if err != nil {
			return "", &mistake{code: CodeUnset, remedy: "write the path of a file that this user may read", message: err.Error()}
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
	}
	m := wrongReference("known are ${env:NAME} and ${file:/path}", "there are no references of the kind %q", scheme)
	if isVariable(scheme) && scheme == strings.ToUpper(scheme) {
		m.remedy = fmt.Sprintf("a default is written ${%s:-%s}", scheme, name)
	}
	return "", m
}

// text expands the references in a text that begins at a character of the scalar.
func (e *expander) text(text string, start, depth int) (string, *mistake) {
	var out strings.Builder
	for i := 0; i < len(text); {
		next := strings.IndexByte(text[i:], '$')
		if next < 0 || i+next+1 >= len(text) {
			out.WriteString(text[i:])
			break
		}
		out.WriteString(text[i : i+next])
		i += next
		switch text[i+1] {
		case '$':
			out.WriteByte('$')
			i += 2
		case '{':
			at := start + utf8.RuneCountInString(text[:i])
			end := closing(text[i:])
			if end < 0 {
				m := wrongReference("close it with }, or write $${ for the characters themselves", "the reference that begins here does not end")
				m.offset, m.width = at, 2
				return "", m
			}
			value, err := e.variable(text[i+2:i+end], at, depth)
			if err != nil {
				if err.width == 0 {
					err.offset, err.width = at, utf8.RuneCountInString(text[i:i+end+1])
				}
				return "", err
			}
			out.WriteString(value)
			i += end + 1
		default:
			out.WriteByte('$')
			i++
		}
	}
	return out.String(), nil
}

// variable gives the value of NAME, NAME:-default or NAME:?message. As in a shell, an empty variable takes the default.
func (e *expander) variable(inner string, at, depth int) (string, *mistake) {
	name, rest, has := strings.Cut(inner, ":")
	switch scheme, _, ok := schemed(inner); {
	case ok && (scheme == "env" || scheme == "file"):
		return "", wrongReference("give the whole value by reference, or use ${NAME} here",
			"${%s:} stands for a whole value, not for a part of one", scheme)
	case ok:
		_, err := e.secret(scheme, rest)
		return "", err
	case !isVariable(name):
		return "", unnamed(name)
	case depth >= maxDepth:
		return "", wrongReference("", "too many defaults inside defaults")
	}
	value, set := e.lookup(name)
	switch {
	case !has && !set:
		return "", unset(name, "set it, or give a default: ${"+name+":-value}")
	case !has || value != "":
		return value, nil
	case strings.HasPrefix(rest, "?"):
		return "", unset(name, strings.TrimPrefix(rest, "?"))
	}
	return e.text(strings.TrimPrefix(rest, "-"), at+4+utf8.RuneCountInString(name), depth+1)
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// hide keeps a text out of messages. What is very short would only garble them.
func (s *source) hide(secret string) {
	if len(secret) >= 4 {
		s.secrets = append(s.secrets, secret)
	}
}

// readSecret reads a small regular file: a device or a pipe could block for ever.
func readSecret(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("no file is named")
	}
	info, err := os.Stat(path) //nolint:gosec // the configuration names it
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSecret)
	}
	return os.ReadFile(path) //nolint:gosec // the configuration names it
}
