package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The codes of problems.
const (
	CodeSyntax    = "ACQ-CFG-001"
	CodeUnknown   = "ACQ-CFG-002"
	CodeWrong     = "ACQ-CFG-003"
	CodeMissing   = "ACQ-CFG-004"
	CodeDuplicate = "ACQ-CFG-005"
	CodeUnset     = "ACQ-CFG-006"
	CodeReference = "ACQ-CFG-007"
	CodeType      = "ACQ-CFG-008"
	CodePlugin    = "ACQ-CFG-009"
	CodeClear     = "ACQ-CFG-010"
	CodeUnused    = "ACQ-CFG-011"
)

// Problem is a mistake in a file, or a warning.
type Problem struct { //nolint:errname // it reads as what it is
	Code    string `json:"code"`
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Width   int    `json:"width"`  // characters that the mistake covers, at least 1
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	Warning bool   `json:"warning"`
}

// Error gives all of it in one line.
func (p Problem) Error() string {
	text := fmt.Sprintf("%s: %s:%d:%d: %s", p.Code, p.File, p.Line, p.Column, p.Message)
	if p.Remedy != "" {
		text += " (" + p.Remedy + ")"
	}
	return text
}

// Problems are the mistakes and warnings of files.
type Problems []Problem //nolint:errname // the same

// Error gives one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Errors says whether any is no warning.
func (p Problems) Errors() bool {
	return slices.ContainsFunc(p, func(one Problem) bool { return !one.Warning })
}

// Beside gives those of more whose place has no mistake here.
func (p Problems) Beside(more Problems) Problems {
	return slices.DeleteFunc(slices.Clone(more), func(m Problem) bool {
		return slices.ContainsFunc(p, func(o Problem) bool { return o.File == m.File && o.Line == m.Line && o.Column == m.Column })
	})
}

// Sort puts them in the order of file, line and column, and drops those that stand there twice.
func (p *Problems) Sort() {
	slices.SortStableFunc(*p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	*p = slices.Compact(*p)
}
