package config

import (
	"io"
	"slices"
	"strconv"
	"strings"
)

// shownWidth bounds the part of a line that is printed, in characters.
const shownWidth = 140

// Render writes problems for people: each with its line, the line before it, and a caret under what is wrong. A secret that
// stands in clear text is not printed. Where source gives no text, the problems stand alone.
func Render(w io.Writer, p Problems, source func(path string) []byte) {
	texts := map[string][][]rune{}
	var out strings.Builder
	for i, one := range p {
		if _, known := texts[one.File]; !known {
			texts[one.File] = masked(one.File, source(one.File), p)
		}
		mark := "✗ "
		if one.Warning {
			mark = "⚠ "
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		at := one.File + ":" + strconv.Itoa(one.Line) + ":" + strconv.Itoa(one.Column)
		out.WriteString(mark + one.Code + " " + printable(at) + "  " + printable(one.Message) + "\n")
		if !snippet(&out, one, texts[one.File]) && one.Remedy != "" {
			out.WriteString("  " + printable(one.Remedy) + "\n")
		}
	}
	_, _ = io.WriteString(w, out.String()) // nothing is left to do when a terminal is gone
}

// masked gives the lines of a file, with stars in place of the secrets that problems point at.
func masked(path string, text []byte, p Problems) [][]rune {
	if text == nil {
		return nil
	}
	s := newSource(path, strings.TrimPrefix(string(text), "\ufeff"))
	lines := make([][]rune, len(s.lines))
	for i, l := range s.lines {
		lines[i] = []rune(printable(l))
	}
	for _, one := range p {
		if one.Code != CodeClear || one.File != path || one.Line < 1 || one.Line > len(lines) {
			continue
		}
		line := lines[one.Line-1]
		for i := max(one.Column-1, 0); i < min(one.Column-1+one.Width, len(line)); i++ {
			line[i] = '*'
		}
	}
	return lines
}

// snippet writes the lines and the caret; false: the problem stands in no line of the text.
func snippet(out *strings.Builder, p Problem, lines [][]rune) bool {
	if p.Line < 1 || p.Line > len(lines) || p.Column < 1 {
		return false
	}
	width := len(strconv.Itoa(p.Line))
	from := 0
	if len(lines[p.Line-1]) > shownWidth {
		from = max(0, p.Column-1-shownWidth/2)
	}
	if p.Line > 1 && len(lines[p.Line-2]) > from {
		number := strconv.Itoa(p.Line - 1)
		out.WriteString("  " + strings.Repeat(" ", width-len(number)) + number + " | " + clipped(lines[p.Line-2], from) + "\n")
	}
	out.WriteString("> " + strconv.Itoa(p.Line) + " | " + clipped(lines[p.Line-1], from) + "\n")
	column := p.Column - 1 - from
	carets := strings.Repeat("^", max(1, min(p.Width, shownWidth-column)))
	line := strings.Repeat(" ", 2+width+3+column) + carets
	if p.Remedy != "" {
		line += " " + printable(p.Remedy)
	}
	out.WriteString(line + "\n")
	return true
}

// clipped gives a part of a line that fits a terminal, with marks where something is left out.
func clipped(line []rune, from int) string {
	if from >= len(line) {
		return ""
	}
	part := slices.Clone(line[from:min(len(line), from+shownWidth)])
	if from > 0 {
		part[0] = '…'
	}
	if from+shownWidth < len(line) {
		part[len(part)-1] = '…'
	}
	return strings.TrimRight(string(part), " ")
}
