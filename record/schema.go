// Package record holds what flows: batches of records in columns, the chunks that carry them, and where they stand.
package record

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
)

// Kind is how the values of a column are held.
type Kind uint8

// The kinds. The comment says where a Column keeps the values.
const (
	Bool           Kind = iota + 1 // Ints, 0 or 1
	Int32                          // Ints
	Int64                          // Ints
	Float32                        // Floats
	Float64                        // Floats
	Decimal                        // unscaled; Ints up to 18 digits of precision, Wide up to 38
	Date                           // Ints, days since 1970-01-01
	Timestamp                      // Ints, microseconds since 1970-01-01 UTC
	LocalTimestamp                 // Ints, microseconds, of no time zone
	String                         // Bytes and Offsets, UTF-8
	Bytes                          // Bytes and Offsets
	VersionText                    // Versions; text only in files and at edges
	List                           // Offsets into Children[0]
	Struct                         // Children
)

var kindNames = [...]string{ //nolint:gochecknoglobals // a constant table
	"", "bool", "int32", "int64", "float32", "float64", "decimal", "date", "timestamp",
	"local_timestamp", "string", "bytes", "version", "list", "struct",
}

// String gives the name of the kind as schemas write it.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// KindOf finds a kind by its name.
func KindOf(name string) (Kind, bool) {
	i := slices.Index(kindNames[:], name)
	return Kind(max(i, 0)), i > 0 //nolint:gosec // a small table
}

// NarrowDigits is the greatest precision of a decimal that is held in Ints.
const NarrowDigits = 18

// Field describes a column.
type Field struct {
	Name      string
	Kind      Kind
	Nullable  bool
	Precision int     // of a Decimal, 1 to 38
	Scale     int     // of a Decimal, 0 to Precision
	Fields    []Field // of a Struct: its members; of a List: its one element
}

// Wide says whether the values are in Column.Wide.
func (f Field) Wide() bool { return f.Kind == Decimal && f.Precision > NarrowDigits }

// Schema is the shape of the records of one stream. It is immutable and shared by pointer.
type Schema struct {
	Stream string
	Fields []Field
	Key    []int // indexes of the key's fields, in key order; empty when the stream has no key
	id     uint64
}

// NewSchema checks the fields and the names of the key, and gives the schema its identity.
func NewSchema(stream string, key []string, fields ...Field) (*Schema, error) {
	s := &Schema{Stream: stream, Fields: fields}
	if stream == "" {
		return nil, errors.New("schema: the stream has no name")
	}
	if err := checkFields(fields); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", stream, err)
	}
	for _, name := range key {
		i := s.Index(name)
		if i < 0 {
			return nil, fmt.Errorf("schema of %s: key column %q is not in the schema", stream, name)
		}
		s.Key = append(s.Key, i)
	}
	h := fnv.New64a()
	identify(h, fields)
	s.id = h.Sum64()
	return s, nil
}

func checkFields(fields []Field) error {
	if len(fields) == 0 {
		return errors.New("no columns")
	}
	seen := map[string]bool{}
	for _, f := range fields {
		switch {
		case f.Name == "":
			return errors.New("a column has no name")
		case seen[f.Name]:
			return fmt.Errorf("column %q stands twice", f.Name)
		case f.Kind < Bool || f.Kind > Struct:
			return fmt.Errorf("column %q: unknown kind", f.Name)
		case f.Kind == Decimal && (f.Precision < 1 || f.Precision > 38 || f.Scale < 0 || f.Scale > f.Precision):
			return fmt.Errorf("column %q: decimal(%d,%d) is not possible", f.Name, f.Precision, f.Scale)
		case f.Kind == List && len(f.Fields) != 1:
			return fmt.Errorf("column %q: a list has one element type", f.Name)
		}
		seen[f.Name] = true
		if f.Kind == List || f.Kind == Struct {
			if err := checkFields(f.Fields); err != nil {
				return fmt.Errorf("column %q: %w", f.Name, err)
			}
		}
	}
	return nil
}

func identify(w io.Writer, fields []Field) {
	for _, f := range fields {
		_, _ = fmt.Fprintf(w, "%q %d %t %d %d (", f.Name, f.Kind, f.Nullable, f.Precision, f.Scale)
		identify(w, f.Fields)
		_, _ = io.WriteString(w, ")")
	}
}

// ID is a hash of names, kinds and nullability of the fields, the same in every process.
func (s *Schema) ID() uint64 { return s.id }

// Short is the identity of the schema as file names carry it: 8 hexadecimal digits.
func (s *Schema) Short() string { return fmt.Sprintf("%08x", uint32(s.id^s.id>>32)) } //nolint:gosec // folded on purpose

// Index finds a field by name, or gives -1.
func (s *Schema) Index(name string) int {
	return slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
}

// KeyNames gives the names of the key's columns.
func (s *Schema) KeyNames() []string {
	names := make([]string, len(s.Key))
	for i, k := range s.Key {
		names[i] = s.Fields[k].Name
	}
	return names
}

// Nearest gives the field whose name differs least from one that does not exist, in at most a third of its letters and
// not counting their case, or "".
func (s *Schema) Nearest(name string) string {
	best, distance := "", max(1, len([]rune(name))/3)+1
	for _, f := range s.Fields {
		if d := edits(name, f.Name); d < distance && d < len([]rune(f.Name)) {
			best, distance = f.Name, d
		}
	}
	return best
}

// edits counts the letters to add, remove or replace.
func edits(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		corner := row[0]
		row[0]++
		for j := range y {
			replace := corner
			if x[i] != y[j] {
				replace++
			}
			corner = row[j+1]
			row[j+1] = min(replace, row[j]+1, corner+1)
		}
	}
	return row[len(y)]
}
