package query

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// Format is a way of writing a result.
type Format string

// The formats.
const (
	Table    Format = "table"  // aligned columns for people
	CSV      Format = "csv"    // RFC 4180 but with \n, as shells want; NULL is an empty field, the empty text is ""
	JSONList Format = "json"   // one list of objects
	NDJSON   Format = "ndjson" // one object a line
	Markdown Format = "md"     // a table; NULL is _NULL_
)

// ParseFormat gives the format of a name.
func ParseFormat(name string) (Format, error) {
	switch f := Format(name); f {
	case Table, CSV, JSONList, NDJSON, Markdown:
		return f, nil
	}
	return "", &fault.Error{
		Code: "ACQ-QUERY-009", Err: fmt.Errorf("unknown output format %q", name),
		Remedy: "use table, csv, json, ndjson or md",
	}
}

// Write writes all rows and closes them. What was read before an error has been written.
func Write(out io.Writer, rows *Rows, format Format) error {
	w := bufio.NewWriter(out)
	var err error
	switch format {
	case CSV:
		err = writeCSV(w, rows)
	case JSONList:
		err = writeJSON(w, rows)
	case NDJSON:
		err = writeNDJSON(w, rows)
	case Markdown:
		err = writeMarkdown(w, rows)
	case Table:
		err = writeTable(w, rows)
	default:
		_, err = ParseFormat(string(format))
	}
	if flushErr := w.Flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		err = fmt.Errorf("write result: %w", err)
	}
	return errors.Join(err, rows.Close())
}

func writeCSV(w *bufio.Writer, rows *Rows) error {
	for i, c := range rows.Columns() {
		csvField(w, i, Value{Text: c.Name})
	}
	_, err := w.WriteString("\n")
	for err == nil && rows.Next() {
		for i, v := range rows.Row() {
			csvField(w, i, v)
		}
		_, err = w.WriteString("\n")
	}
	return err
}

// csvField writes one field. encoding/csv cannot tell an empty text from a NULL. The writer keeps the first error.
func csvField(w *bufio.Writer, i int, v Value) {
	if i > 0 {
		_ = w.WriteByte(',')
	}
	switch {
	case v.Null:
	case v.Text == "", strings.ContainsAny(v.Text, "\",\r\n"), v.Text[0] == ' ', v.Text[len(v.Text)-1] == ' ':
		_, _ = w.WriteString(`"` + strings.ReplaceAll(v.Text, `"`, `""`) + `"`)
	default:
		_, _ = w.WriteString(v.Text)
	}
}

func writeJSON(w *bufio.Writer, rows *Rows) error {
	keys := objectKeys(rows.Columns())
	between := "["
	var line bytes.Buffer
	for rows.Next() {
		line.Reset()
		appendObject(&line, keys, rows.Columns(), rows.Row())
		if _, err := w.WriteString(between + "\n  " + line.String()); err != nil {
			return err
		}
		between = ","
	}
	end := "\n]\n"
	if between == "[" {
		end = "[]\n"
	}
	_, err := w.WriteString(end)
	return err
}

func writeNDJSON(w *bufio.Writer, rows *Rows) error {
	keys := objectKeys(rows.Columns())
	var line bytes.Buffer
	for rows.Next() {
		line.Reset()
		appendObject(&line, keys, rows.Columns(), rows.Row())
		line.WriteByte('\n')
		if _, err := w.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// objectKeys gives each column's name as a JSON text; a name that comes again gets a number.
func objectKeys(columns []Column) [][]byte {
	keys := make([][]byte, len(columns))
	seen := make(map[string]bool, len(columns))
	for i, c := range columns {
		name := c.Name
		for n := 2; seen[name]; n++ {
			name = c.Name + "_" + strconv.Itoa(n)
		}
		seen[name] = true
		keys[i] = jsonText(name)
	}
	return keys
}

func appendObject(out *bytes.Buffer, keys [][]byte, columns []Column, row []Value) {
	out.WriteByte('{')
	for i, v := range row {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(keys[i])
		out.WriteByte(':')
		out.Write(v.JSON(columns[i].Kind))
	}
	out.WriteByte('}')
}

// JSON gives the value as JSON: numbers keep every digit, and nan and inf, which JSON does not have, are texts.
func (v Value) JSON(kind Kind) []byte {
	switch {
	case v.Null:
		return []byte("null")
	case kind != Text && json.Valid([]byte(v.Text)):
		return []byte(v.Text)
	}
	return jsonText(v.Text)
}

func jsonText(s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes, and a buffer takes all
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
