package query

import (
	"bufio"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// nullMark stands for NULL in tables on a terminal: no value of the lake is shown as it.
const nullMark = "∅"

// writeTable aligns the columns, so it holds all rows; the row cap bounds them.
func writeTable(w *bufio.Writer, rows *Rows) error {
	columns := rows.Columns()
	widths := make([]int, len(columns))
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = printable(c.Name)
		widths[i] = displayWidth(heads[i])
	}
	var lines [][]string
	for rows.Next() {
		line := make([]string, len(columns))
		for i, v := range rows.Row() {
			line[i] = printable(v.Text)
			if v.Null {
				line[i] = nullMark
			}
			widths[i] = max(widths[i], displayWidth(line[i]))
		}
		lines = append(lines, line)
	}
	tableLine(w, heads, widths, columns)
	for i, n := range widths {
		if i > 0 {
			_, _ = w.WriteString("┼")
		}
		_, _ = w.WriteString(strings.Repeat("─", n+2))
	}
	_ = w.WriteByte('\n')
	for _, line := range lines {
		tableLine(w, line, widths, columns)
	}
	_, err := w.WriteString(rowsNote(rows) + "\n")
	return err
}

// rowsNote says how many rows there are, and whether they are all.
func rowsNote(rows *Rows) string {
	switch {
	case rows.Truncated():
		return fmt.Sprintf("(the first %d rows; there are more)", rows.Count())
	case rows.Count() == 1:
		return "(1 row)"
	}
	return fmt.Sprintf("(%d rows)", rows.Count())
}

func tableLine(w *bufio.Writer, cells []string, widths []int, columns []Column) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString("│")
		}
		gap := strings.Repeat(" ", widths[i]-displayWidth(cell))
		if columns[i].Kind == Number {
			line.WriteString(" " + gap + cell + " ")
		} else {
			line.WriteString(" " + cell + gap + " ")
		}
	}
	_, _ = w.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

func writeMarkdown(w *bufio.Writer, rows *Rows) error {
	columns := rows.Columns()
	for _, c := range columns {
		_, _ = w.WriteString("| " + markdownText(c.Name) + " ")
	}
	_, _ = w.WriteString("|\n")
	for _, c := range columns {
		if c.Kind == Number {
			_, _ = w.WriteString("| ---: ")
		} else {
			_, _ = w.WriteString("| --- ")
		}
	}
	_, err := w.WriteString("|\n")
	for err == nil && rows.Next() {
		for _, v := range rows.Row() {
			text := markdownText(v.Text)
			if v.Null {
				text = "_NULL_"
			}
			_, _ = w.WriteString("| " + text + " ")
		}
		_, err = w.WriteString("|\n")
	}
	return err
}

// markdownText escapes what Markdown or HTML in Markdown would read as markup.
func markdownText(s string) string {
	var out strings.Builder
	for _, r := range printable(s) {
		switch r {
		case '|', '*', '_', '`', '[', ']', '#', '~', '$':
			out.WriteByte('\\')
			out.WriteRune(r)
		case '<':
			out.WriteString("&lt;")
		case '>':
			out.WriteString("&gt;")
		case '&':
			out.WriteString("&amp;")
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// printable writes control characters and those that turn the direction of writing as escapes, so that data can
// neither break the table nor command the terminal.
func printable(s string) string {
	if strings.IndexFunc(s, hidden) < 0 && !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == '\\':
			out.WriteString(`\\`)
		case hidden(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\ufeff'
}

// displayWidth gives the columns that a text takes on a terminal: two for wide characters, none for marks and joiners.
func displayWidth(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case width.LookupRune(r).Kind() == width.EastAsianWide, width.LookupRune(r).Kind() == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
