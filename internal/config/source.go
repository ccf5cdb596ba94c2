package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// source is the text that problems point into.
type source struct {
	path    string
	lines   []string
	secrets []string // texts that no message may hold
}

func newSource(path, text string) *source {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	if last := len(lines) - 1; last > 0 && lines[last] == "" {
		lines = lines[:last]
	}
	return &source{path: path, lines: lines}
}

// position gives the place of a token, and the characters it covers in its first line.
func (s *source) position(t *token.Token) (line, column, width int) {
	if t == nil || t.Position == nil {
		return 1, 1, 1
	}
	line, column = t.Position.Line, t.Position.Column
	raw, _, _ := strings.Cut(strings.TrimSpace(t.Origin), "\n")
	raw = strings.TrimSpace(strings.TrimPrefix(raw, "\ufeff"))
	width = max(1, utf8.RuneCountInString(raw))
	if line < 1 || line > len(s.lines) || raw == "" {
		return line, column, width
	}
	runes := []rune(s.lines[line-1]) // the scanner is some columns off after a tag, for one
	if at := column - 1; at < 0 || at > len(runes) || !strings.HasPrefix(string(runes[at:]), raw) {
		if i := strings.Index(s.lines[line-1], raw); i >= 0 {
			column = 1 + utf8.RuneCountInString(s.lines[line-1][:i])
		}
	}
	return line, column, width
}

// at makes a problem at a node.
func (s *source) at(n *node, code, remedy, format string, args ...any) Problem {
	if n == nil {
		n = &node{}
	}
	return s.problem(code, n.line, n.column, n.width, remedy, fmt.Sprintf(format, args...))
}

// inside makes a problem at a place in the text of a scalar. A width of 0 is the word that stands there.
func (s *source) inside(n *node, offset, width int, code, remedy, message string) Problem {
	line, column, ok := s.offset(n, offset)
	if !ok {
		return s.at(n, code, remedy, "%s", message)
	}
	if width == 0 {
		for _, c := range []rune(s.line(line))[column-1:] {
			if !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '_' {
				break
			}
			width++
		}
	}
	return s.problem(code, line, column, max(width, 1), remedy, message)
}

// problem makes a problem whose place is inside the file, and whose texts are one line that holds no secret.
func (s *source) problem(code string, line, column, width int, remedy, message string) Problem {
	line = min(max(line, 1), len(s.lines))
	length := utf8.RuneCountInString(s.lines[line-1])
	column = min(max(column, 1), length+1)
	width = max(1, min(width, length+1-column))
	return Problem{
		Code: code, File: s.path, Line: line, Column: column, Width: width,
		Message: s.clean(message), Remedy: s.clean(remedy),
	}
}

func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

func (s *source) clean(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "(secret)")
	}
	return printable(strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", " ")), " "))
}

// printable puts a mark in place of what could move a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return utf8.RuneError
		}
		return c
	}, text)
}

// offset finds the place in the file of a character of a scalar's text.
func (s *source) offset(n *node, offset int) (line, column int, ok bool) {
	if n == nil || n.kind != scalar || offset < 0 {
		return 0, 0, false
	}
	if n.style == literal {
		return s.offsetInLines(n, offset)
	}
	raw := []rune(n.raw)
	quotes := 0
	if n.style != plain {
		quotes = 1
	}
	full := []rune(s.line(n.line))
	if len(raw) < 2*quotes || n.column < 1 || n.column > len(full) || !strings.HasPrefix(string(full[n.column-1:]), n.raw) {
		return 0, 0, false
	}
	i := quotes
	for range offset {
		if i >= len(raw)-quotes {
			break
		}
		i += escaped(raw[i:], n.style)
	}
	return n.line, n.column + min(i, len(raw)-quotes), true
}

// escaped gives how many characters of the file make the next character of the text.
func escaped(raw []rune, s style) int {
	switch {
	case s == single && raw[0] == '\'':
		return 2
	case s != double || raw[0] != '\\' || len(raw) < 2:
		return 1
	}
	switch raw[1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	return 2
}

// offsetInLines does the same for a | block: its lines stand as they are, below it and indented.
func (s *source) offsetInLines(n *node, offset int) (line, column int, ok bool) {
	first := n.line + 1
	for strings.TrimSpace(s.line(first)) == "" && first <= len(s.lines) {
		first++
	}
	indent := len(s.line(first)) - len(strings.TrimLeft(s.line(first), " "))
	line = n.line + 1
	for text := range strings.SplitSeq(n.written, "\n") {
		length := utf8.RuneCountInString(text)
		if offset <= length {
			below := s.line(line)
			if text != "" && (len(below) < indent || below[indent:] != text) {
				return 0, 0, false
			}
			return line, min(indent+offset, utf8.RuneCountInString(below)) + 1, line <= len(s.lines)
		}
		offset -= length + 1
		line++
	}
	return 0, 0, false
}
