package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/acequia-io/acequia/record"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// File is a Parquet file that is read. Several goroutines may make readers of it.
type File struct {
	file    *pq.File
	columns []FileColumn
	groups  []RowGroup
}

// RowGroup is what the footer says of a row group.
type RowGroup struct {
	Rows   int64
	Stored int64 // bytes in the file
	Plain  int64 // bytes when unpacked
}

// FileColumn is a column of a file, as its footer describes it.
type FileColumn struct {
	Field record.Field // the type that holds its values without loss
	Text  bool         // its values are texts, or bytes, as they are
	Err   error        // why its values cannot be read

	leaf  int // the first of them
	forms []stored
}

// stored is how a file stores the values of a leaf beside what their type says.
type stored struct {
	field record.Field
	as    uint8
}

// The ways of storing.
const (
	asItIs   uint8 = iota
	unsigned       // an integer without a sign
	millis         // since 1970
	nanos          // since 1970
	julian         // nanoseconds of a day counted by astronomers, in 96 bits
	bigEnd         // a decimal, in bytes
	uuid           // 16 bytes
)

// Open reads the footer of a file. The caller closes what it gave, once it is done with the readers.
func Open(r io.ReaderAt, size int64) (f *File, err error) {
	defer func() {
		if lost := recover(); lost != nil { // the library gives up on some damages
			f, err = nil, fmt.Errorf("read footer: %v", lost)
		}
	}()
	if err := checkFooter(r, size); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	p, err := pq.OpenFile(r, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	f = &File{file: p}
	for _, c := range p.Root().Columns() {
		f.columns = append(f.columns, columnOf(c))
	}
	for _, g := range p.Metadata().RowGroups {
		group := RowGroup{Rows: g.NumRows, Plain: g.TotalByteSize}
		for _, c := range g.Columns {
			group.Stored += c.MetaData.TotalCompressedSize
		}
		f.groups = append(f.groups, group)
	}
	return f, nil
}

// checkFooter refuses a footer that is longer than the file: the library takes memory for what the last bytes say, up to 4 GiB, before it
// reads. They are its length and the magic (https://parquet.apache.org/docs/file-format).
func checkFooter(r io.ReaderAt, size int64) error {
	const magic = 4
	var end [magic + 4]byte
	if size < int64(magic+len(end)) {
		return fmt.Errorf("a file of %d bytes is no Parquet file", size)
	}
	if n, err := r.ReadAt(end[:], size-int64(len(end))); n < len(end) {
		return fmt.Errorf("its length: %w", err)
	}
	if footer := int64(binary.LittleEndian.Uint32(end[:])); footer > size-magic-int64(len(end)) {
		return fmt.Errorf("it says that it has %d bytes, in a file of %d: the file is damaged, or was cut off", footer, size)
	}
	return nil
}

// Rows counts the rows.
func (f *File) Rows() int64 { return f.file.NumRows() }

// Groups gives the row groups, which must not be changed.
func (f *File) Groups() []RowGroup { return f.groups }

// Columns gives the columns, which must not be changed.
func (f *File) Columns() []FileColumn { return f.columns }

// Bounds gives what the footer says of the values of a column in a row group: none is below lo or above hi, as bytes. ok is false where
// it says nothing. Texts may have been cut.
func (f *File) Bounds(group int, column string) (lo, hi []byte, ok bool) {
	for i := range f.columns {
		c := &f.columns[i]
		if c.Field.Name != column || c.Err != nil || len(c.forms) != 1 {
			continue
		}
		chunks := f.file.Metadata().RowGroups[group].Columns
		if c.leaf >= len(chunks) {
			return nil, nil, false
		}
		s := &chunks[c.leaf].MetaData.Statistics
		return s.MinValue, s.MaxValue, s.MinValue != nil && s.MaxValue != nil
	}
	return nil, nil, false
}

// Lookup gives an entry of the file's own metadata.
func (f *File) Lookup(key string) (string, bool) { return f.file.Lookup(key) }

func columnOf(c *pq.Column) FileColumn {
	out := FileColumn{}
	field, err := out.field(c)
	field.Name = c.Name()
	out.Field, out.Err = field, err
	if err == nil && len(out.forms) == 1 {
		out.Text = out.forms[0].as == asItIs && (field.Kind == record.String || field.Kind == record.Bytes)
	}
	return out
}

var errNested = errors.New("it is nested")

// field says what a column holds: a list of three levels, a group of members, or values.
func (c *FileColumn) field(from *pq.Column) (record.Field, error) {
	f := record.Field{Name: from.Name(), Nullable: from.Optional()}
	switch {
	case from.Repeated():
		return f, errNested
	case from.Leaf():
		if len(c.forms) == 0 {
			c.leaf = from.Index()
		}
		s, err := storedOf(from)
		s.field.Name, s.field.Nullable = f.Name, f.Nullable
		c.forms = append(c.forms, s)
		return s.field, err
	}
	members := from.Columns()
	if t := from.Type().LogicalType(); t != nil && t.Value != nil {
		if _, ok := t.Value.(*format.ListType); !ok || len(members) != 1 || !members[0].Repeated() || len(members[0].Columns()) != 1 {
			return f, errNested
		}
		f.Kind, members = record.List, members[0].Columns()
	} else {
		f.Kind = record.Struct
	}
	for _, m := range members {
		field, err := c.field(m)
		if err != nil {
			return f, err
		}
		f.Fields = append(f.Fields, field)
	}
	if len(members) == 0 {
		return f, errNested
	}
	return f, nil
}

// storedOf says how the values of a leaf are read.
func storedOf(c *pq.Column) (stored, error) {
	s := stored{}
	logical := format.LogicalTypeValue(nil)
	if t := c.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	switch c.Type().Kind() {
	case pq.Boolean:
		s.field.Kind = record.Bool
	case pq.Int32, pq.Int64:
		return s, s.whole(logical, c.Type().Kind() == pq.Int64)
	case pq.Int96:
		s.field.Kind, s.as = record.Timestamp, julian
	case pq.Float:
		s.field.Kind = record.Float32
	case pq.Double:
		s.field.Kind = record.Float64
	default:
		return s, s.bytes(logical, c.Type().Length())
	}
	return s, nil
}

// whole is for columns of integers.
func (s *stored) whole(logical format.LogicalTypeValue, wide bool) error {
	s.field.Kind = record.Int32
	if wide {
		s.field.Kind = record.Int64
	}
	switch t := logical.(type) {
	case nil:
	case *format.IntType:
		switch {
		case !t.IsSigned && t.BitWidth == 32:
			s.field.Kind, s.as = record.Int64, unsigned
		case !t.IsSigned && t.BitWidth == 64:
			s.field.Kind, s.field.Precision, s.as = record.Decimal, 20, unsigned
		}
	case *format.DateType:
		s.field.Kind = record.Date
	case *format.DecimalType:
		return s.decimal(t)
	case *format.TimestampType:
		s.field.Kind = record.LocalTimestamp
		if t.IsAdjustedToUTC {
			s.field.Kind = record.Timestamp
		}
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			s.as = millis
		case *format.NanoSeconds:
			s.as = nanos
		}
	default:
		return fmt.Errorf("its type %s is not known", logical)
	}
	return nil
}

// bytes is for columns of bytes.
func (s *stored) bytes(logical format.LogicalTypeValue, length int) error {
	s.field.Kind = record.Bytes
	switch t := logical.(type) {
	case nil, *format.BsonType:
	case *format.StringType, *format.EnumType, *format.JsonType:
		s.field.Kind = record.String
	case *format.DecimalType:
		s.as = bigEnd
		return s.decimal(t)
	case *format.UUIDType:
		s.field.Kind, s.as = record.String, uuid
		if length != 16 {
			return fmt.Errorf("a UUID of %d bytes", length)
		}
	default:
		return fmt.Errorf("its type %s is not known", logical)
	}
	return nil
}

func (s *stored) decimal(t *format.DecimalType) error {
	s.field.Kind, s.field.Precision, s.field.Scale = record.Decimal, int(t.Precision), int(t.Scale)
	if t.Precision < 1 || t.Precision > 38 || t.Scale < 0 || t.Scale > t.Precision {
		return fmt.Errorf("its type %s has more than 38 digits", t)
	}
	return nil
}

// Fits says whether the values of the column can become those of a field without loss, or with a look at each. A text
// may become a version.
func (c *FileColumn) Fits(f record.Field) bool { return fit(c.Field, f) && c.Err == nil }

func fit(from, to record.Field) bool {
	switch from.Kind {
	case record.List, record.Struct:
		same := func(a, b record.Field) bool { return fit(a, b) && (from.Kind == record.List || a.Name == b.Name) }
		return from.Kind == to.Kind && slices.EqualFunc(from.Fields, to.Fields, same)
	case to.Kind:
		return to.Kind != record.Decimal || to.Scale >= from.Scale
	case record.Int32, record.Int64:
		return to.Kind == record.Int32 || to.Kind == record.Int64 || to.Kind == record.Decimal
	case record.Float32:
		return to.Kind == record.Float64
	case record.String:
		return to.Kind == record.VersionText || to.Kind == record.Bytes
	}
	return from.Kind == record.Bytes && to.Kind == record.String
}

// Wanted is a column to read: its index in the file, and the field that its values become. An index below zero is a column
// that the file does not have: it is null.
type Wanted struct {
	Column int
	Field  record.Field
}

// Bind finds fields in the file by their names. One that is not there is null.
func (f *File) Bind(fields []record.Field) ([]Wanted, error) {
	byName := map[string]int{}
	for i, c := range f.columns {
		byName[c.Field.Name] = i
	}
	out := make([]Wanted, len(fields))
	var bad []error
	for i, field := range fields {
		out[i] = Wanted{Column: -1, Field: field}
		at, ok := byName[field.Name]
		if !ok {
			if !field.Nullable {
				bad = append(bad, fmt.Errorf("column %s is not in the file, and must have values", field.Name))
			}
			continue
		}
		out[i].Column = at
		if c := &f.columns[at]; c.Err != nil {
			bad = append(bad, fmt.Errorf("column %s: %w", field.Name, c.Err))
		} else if !c.Fits(field) {
			bad = append(bad, fmt.Errorf("column %s is %s in the file and %s in the schema", field.Name, c.Field.TypeName(), field.TypeName()))
		}
	}
	return out, errors.Join(bad...)
}
