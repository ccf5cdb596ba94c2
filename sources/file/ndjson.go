package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// maxNames bounds how many names of members that the table has no column for are remembered, to find them standing twice.
const maxNames = 4096

// ndjson takes lines apart that hold a JSON object each.
type ndjson struct {
	cursor
	fields []record.Field
	quoted [][]byte       // by column: its name in quotes, as most files write it
	known  map[string]int // by name as files write it: the column, or the number of an unknown name
	seen   []int          // by that number: 1 + the row that it stood in last
	row    int            // of this scanner, from 1
}

func newNDJSON(schema *record.Schema) *ndjson {
	j := &ndjson{fields: schema.Fields, known: map[string]int{}, seen: make([]int, len(schema.Fields))}
	for i, f := range schema.Fields {
		j.quoted = append(j.quoted, []byte(`"`+f.Name+`"`))
		j.known[f.Name] = i
	}
	return j
}

func (j *ndjson) scan(buf []byte, last bool, t *table) piece {
	end := bytes.IndexByte(buf, '\n')
	line, n := buf, len(buf)
	switch {
	case end >= 0:
		line, n = buf[:end], end+1
	case !last:
		return piece{}
	}
	p := piece{n: n, lines: 1}
	if len(bytes.TrimLeft(line, " \t\r")) == 0 {
		return p
	}
	p.row = true
	if !utf8.Valid(line) {
		p.bad = &problem{code: codeText, err: errUTF8}
		return p
	}
	if p.bad = j.object(line, t); p.bad != nil {
		t.undo()
	}
	return p
}

// object sets the members of a line.
func (j *ndjson) object(line []byte, t *table) *problem {
	j.cursor = cursor{data: line, scratch: j.scratch}
	j.row++
	if c := j.peek(); c != '{' {
		return &problem{code: codeJSON, err: fmt.Errorf("want an object, got %s", kindOf(c))}
	}
	j.pos++
	next := 0
	for more := j.peek() != '}'; more; {
		id, err := j.name(next)
		if err != nil {
			return &problem{code: codeJSON, err: err}
		}
		if id >= 0 && j.seen[id] == j.row {
			return &problem{code: codeTwice, column: j.label(id), err: errTwice}
		}
		if id >= 0 {
			j.seen[id] = j.row
		}
		if id < 0 || id >= len(j.fields) {
			err = j.skip(0)
		} else {
			next = id + 1
			if bad := j.value(id, t); bad != nil {
				return bad
			}
		}
		if err != nil {
			return &problem{code: codeJSON, err: err}
		}
		switch j.peek() {
		case ',':
			j.pos++
		case '}':
			more = false
		default:
			return &problem{code: codeJSON, err: j.syntax("want ',' or '}'")}
		}
	}
	j.pos++
	if j.peek() != 0 || j.pos < len(j.data) {
		return &problem{code: codeJSON, err: j.syntax("something follows the object")}
	}
	return j.rest(t)
}

// rest makes nulls of the columns that the line does not have.
func (j *ndjson) rest(t *table) *problem {
	for i := range j.fields {
		if j.seen[i] == j.row {
			continue
		}
		if err := t.null(i); err != nil {
			return &problem{code: codeKey, column: j.fields[i].Name, err: err}
		}
	}
	return nil
}

var errTwice = errors.New("the member stands twice")

func (j *ndjson) label(id int) string {
	if id < len(j.fields) {
		return j.fields[id].Name
	}
	for name, i := range j.known {
		if i == id {
			return name
		}
	}
	return ""
}

// name reads a member's name and the colon, and gives its number; -1: one of too many that are not known. The columns'
// order says which to look for first.
func (j *ndjson) name(hint int) (int, error) {
	j.peek()
	var id int
	if hint < len(j.quoted) && bytes.HasPrefix(j.data[j.pos:], j.quoted[hint]) {
		id = hint
		j.pos += len(j.quoted[hint])
	} else {
		text, err := j.string()
		if err != nil {
			return 0, err
		}
		var ok bool
		if id, ok = j.known[string(text)]; !ok {
			id = j.learn(string(text))
		}
	}
	if j.peek() != ':' {
		return 0, j.syntax("want ':' after a name")
	}
	j.pos++
	return id, nil
}

// learn gives a name that was not seen before its number: that of the column whose name it becomes in the lake, or a new one.
func (j *ndjson) learn(name string) int {
	folded := schemas.ColumnName(name)
	for i := range j.fields {
		if schemas.ColumnName(j.fields[i].Name) == folded {
			j.known[name] = i
			return i
		}
	}
	if len(j.known) >= maxNames {
		return -1
	}
	j.known[name] = len(j.seen)
	j.seen = append(j.seen, 0)
	return len(j.seen) - 1
}

// strangers gives the names that were learnt and are no columns.
func (j *ndjson) strangers() []string {
	var names []string
	for name, id := range j.known {
		if id >= len(j.fields) {
			names = append(names, name)
		}
	}
	return names
}

// value sets a column.
func (j *ndjson) value(column int, t *table) *problem {
	f := &j.fields[column]
	start := j.peek()
	var err error
	switch {
	case start == 'n':
		if err = j.literal("null"); err == nil {
			if err := t.null(column); err != nil {
				return &problem{code: codeKey, column: f.Name, err: err}
			}
			return nil
		}
	case start == '"':
		return j.setString(column, t)
	case start == '-' || start >= '0' && start <= '9':
		return j.setNumber(column, t)
	case start == 't' || start == 'f':
		word, n := "true", int64(1)
		if start == 'f' {
			word, n = "false", 0
		}
		if err = j.literal(word); err == nil && f.Kind == record.Bool {
			t.columns[column].Ints = append(t.columns[column].Ints, n)
			return nil
		}
	case start == '{' || start == '[':
		at := j.pos
		if err = j.skip(0); err == nil && f.Kind == record.String { // a document in a column is its text
			return valueProblem(f, t.text(column, j.data[at:j.pos], true))
		}
	default:
		err = j.syntax("want a value")
	}
	if err != nil {
		return &problem{code: codeJSON, column: f.Name, err: err}
	}
	return wrongKind(f, start)
}

func wrongKind(f *record.Field, start byte) *problem {
	return &problem{code: codeValue, column: f.Name, err: fmt.Errorf("want %s, got %s", f.TypeName(), kindOf(start))}
}

func valueProblem(f *record.Field, err error) *problem {
	if err == nil {
		return nil
	}
	return &problem{code: codeOf(err), column: f.Name, err: err}
}

func (j *ndjson) setString(column int, t *table) *problem {
	f := &j.fields[column]
	text, err := j.string()
	switch {
	case err != nil:
		return &problem{code: codeJSON, column: f.Name, err: err}
	case f.Kind == record.Int32 || f.Kind == record.Int64 || f.Kind == record.Bool:
		return wrongKind(f, '"')
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		if _, ok := specialFloat(text); !ok {
			return wrongKind(f, '"')
		}
	case f.Kind == record.Bytes:
		raw, err := base64Decode(j.scratch[len(j.scratch):], text)
		if err != nil {
			return &problem{code: codeValue, column: f.Name, err: fmt.Errorf("want base64: %w", err)}
		}
		text = raw
	}
	return valueProblem(f, t.text(column, text, true))
}

func (j *ndjson) setNumber(column int, t *table) *problem {
	f := &j.fields[column]
	text, err := j.number()
	if err != nil {
		return &problem{code: codeJSON, column: f.Name, err: err}
	}
	switch f.Kind {
	case record.Int32, record.Int64, record.Float32, record.Float64, record.Decimal:
		return valueProblem(f, t.text(column, text, true))
	}
	return wrongKind(f, '0')
}

// kindOf names what begins with a byte.
func kindOf(c byte) string {
	switch {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	case c == 0:
		return "nothing"
	}
	return fmt.Sprintf("%q", c)
}

// plainText counts the bytes at the beginning of a JSON string that stand for themselves. Slack bytes behind v are read.
func plainText(v []byte) int {
	all := v[:len(v)+8]
	for i := 0; i < len(v); i += 8 {
		w := binary.LittleEndian.Uint64(all[i:])
		stop := matches(w, '"') | matches(w, '\\') | (w-' '*eachByte)&^w&topBits // the last one is right up to its first bit
		if stop != 0 {
			return min(len(v), i+bits.TrailingZeros64(stop)>>3)
		}
	}
	return len(v)
}
