package file

import (
	"errors"
	"fmt"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// layout is what the footer of a Parquet file says.
type layout struct {
	of      *input
	columns []stored
	groups  []rowGroup
	rows    int64
}

type rowGroup struct {
	rows   int64
	stored int64 // bytes in the file
	plain  int64 // bytes when unpacked
}

// form is how a Parquet file stores a value beside what its type says.
type form uint8

const (
	asItIs   form = iota
	unsigned      // an integer of 64 bits without a sign
	millis        // since 1970
	nanos         // since 1970
	julian        // nanoseconds of a day counted by astronomers, in 96 bits
	bigEnd        // a decimal, in bytes
	uuid          // 16 bytes
)

// stored is a column of a Parquet file.
type stored struct {
	name  string
	leaf  int
	field record.Field // the type that holds its values without loss
	form  form
	err   error // why its values cannot be read
}

// openFile opens a Parquet file. What is wrong with it is told of the file, also when the library gives up on it.
func openFile(in *input) (f *os.File, p *parquet.File, err error) {
	if f, err = os.Open(in.path); err != nil {
		return nil, nil, cannotOpen(in.path, err)
	}
	defer func() {
		if lost := recover(); lost != nil {
			err = fmt.Errorf("%v", lost)
		}
		if err != nil {
			err = fmt.Errorf("its footer cannot be read: %w", errors.Join(err, f.Close()))
			f, p, err = nil, nil, stop(codeDamaged, in.path, "put a whole Parquet file there", err)
		}
	}()
	p, err = parquet.OpenFile(f, in.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	return f, p, err
}

// layout reads the footer of a file, once.
func (s *Source) layout(in *input) (*layout, error) {
	s.mu.Lock()
	l := s.layouts[in.path]
	s.mu.Unlock()
	if l != nil && l.of == in {
		return l, nil
	}
	f, p, err := openFile(in)
	if err != nil {
		return nil, err
	}
	l = layoutOf(in, p)
	if err := f.Close(); err != nil {
		return nil, cannotOpen(in.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layouts[in.path] = l
	return l, nil
}

func layoutOf(in *input, p *parquet.File) *layout {
	l := &layout{of: in, rows: p.NumRows()}
	for _, c := range p.Root().Columns() {
		l.columns = append(l.columns, storedOf(c))
	}
	for _, g := range p.Metadata().RowGroups {
		group := rowGroup{rows: g.NumRows, plain: g.TotalByteSize}
		for _, c := range g.Columns {
			group.stored += c.MetaData.TotalCompressedSize
		}
		l.groups = append(l.groups, group)
	}
	return l
}

// runs gives the row groups that lanes begin with: each lane has so many bytes or more.
func (l *layout) runs(piece int64) []int64 {
	starts, held := []int64{0}, int64(0)
	for i, g := range l.groups {
		if held >= piece {
			starts, held = append(starts, int64(i)), 0
		}
		held += g.stored
	}
	return starts
}

// lane gives the rows of the lane that begins with a row group: the first, and the one after the last.
func (l *layout) lane(start, piece int64) (from, to int64, ok bool) {
	starts := l.runs(piece)
	for i, s := range starts {
		if s != start {
			continue
		}
		end := int64(len(l.groups))
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		for j, g := range l.groups[:end] {
			if int64(j) < start {
				from += g.rows
			}
			to += g.rows
		}
		return from, to, true
	}
	return 0, 0, false
}

// storedOf says how the values of a column are read.
func storedOf(c *parquet.Column) stored {
	s := stored{name: c.Name(), field: record.Field{Name: schemas.ColumnName(c.Name()), Nullable: true}}
	if !c.Leaf() || c.Repeated() {
		s.err = errors.New("it is nested")
		return s
	}
	s.leaf = c.Index()
	logical := format.LogicalTypeValue(nil)
	if t := c.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	switch c.Type().Kind() {
	case parquet.Boolean:
		s.field.Kind = record.Bool
	case parquet.Int32, parquet.Int64:
		s.whole(logical, c.Type().Kind() == parquet.Int64)
	case parquet.Int96:
		s.field.Kind, s.form = record.Timestamp, julian
	case parquet.Float:
		s.field.Kind = record.Float32
	case parquet.Double:
		s.field.Kind = record.Float64
	default:
		s.bytes(logical, c.Type().Length())
	}
	return s
}

// whole is for columns of integers.
func (s *stored) whole(logical format.LogicalTypeValue, wide bool) {
	s.field.Kind = record.Int32
	if wide {
		s.field.Kind = record.Int64
	}
	switch t := logical.(type) {
	case nil:
	case *format.IntType:
		switch {
		case !t.IsSigned && t.BitWidth == 32:
			s.field.Kind, s.form = record.Int64, unsigned
		case !t.IsSigned && t.BitWidth == 64:
			s.field.Kind, s.field.Precision, s.form = record.Decimal, 20, unsigned
		}
	case *format.DateType:
		s.field.Kind = record.Date
	case *format.DecimalType:
		s.decimal(t)
	case *format.TimestampType:
		s.field.Kind = record.LocalTimestamp
		if t.IsAdjustedToUTC {
			s.field.Kind = record.Timestamp
		}
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			s.form = millis
		case *format.NanoSeconds:
			s.form = nanos
		}
	default:
		s.err = fmt.Errorf("its type %s is not known", logical)
	}
}

// bytes is for columns of bytes.
func (s *stored) bytes(logical format.LogicalTypeValue, length int) {
	s.field.Kind = record.Bytes
	switch t := logical.(type) {
	case nil, *format.BsonType:
	case *format.StringType, *format.EnumType, *format.JsonType:
		s.field.Kind = record.String
	case *format.DecimalType:
		s.form = bigEnd
		s.decimal(t)
	case *format.UUIDType:
		s.field.Kind, s.form = record.String, uuid
		if length != 16 {
			s.err = fmt.Errorf("a UUID of %d bytes", length)
		}
	default:
		s.err = fmt.Errorf("its type %s is not known", logical)
	}
}

func (s *stored) decimal(t *format.DecimalType) {
	s.field.Kind, s.field.Precision, s.field.Scale = record.Decimal, int(t.Precision), int(t.Scale)
	if t.Precision < 1 || t.Precision > 38 || t.Scale < 0 || t.Scale > t.Precision {
		s.err = fmt.Errorf("its type %s has more than 38 digits", t)
	}
}

// parquetFields gives the columns of a file, for a stream whose schema is not declared.
func (s *Source) parquetFields(in *input) ([]record.Field, error) {
	l, err := s.layout(in)
	if err != nil {
		return nil, err
	}
	var fields []record.Field
	var bad []error
	for _, c := range l.columns {
		if c.err != nil {
			err := fmt.Errorf("cannot be read: %w", c.err)
			bad = append(bad, stop(codeType, in.path+", column "+c.name, "declare a schema without it", err))
		}
		fields = append(fields, c.field)
	}
	return fields, errors.Join(bad...)
}

// bindParquet finds the columns of the schema in the file, and sees that their types go together.
func (s *Source) bindParquet(l *layout, in *input, schema *record.Schema) ([]stored, error) {
	var names []string
	for _, c := range l.columns {
		names = append(names, c.name)
	}
	if err := distinct(names, in.path); err != nil {
		return nil, err
	}
	from, ignored, err := match(schema, names, in.path)
	if err != nil {
		return nil, err
	}
	s.ignore(ignored)
	var out []stored
	var bad []error
	for i, at := range from {
		c, f := l.columns[at], schema.Fields[i]
		why := c.err
		if why == nil && !converts(c, f) {
			why = fmt.Errorf("it is %s in the file and %s in the schema", c.field.TypeName(), f.TypeName())
		}
		if why != nil {
			remedy := "leave it out of the schema, or declare the type that it has; all files of a stream have the same types"
			bad = append(bad, stop(codeType, in.path+", column "+c.name, remedy, fmt.Errorf("cannot be read: %w", why)))
		}
		out = append(out, c)
	}
	return out, errors.Join(bad...)
}

// converts says whether the values of a column can become those of a field without loss, or with a look at each.
func converts(c stored, f record.Field) bool {
	from := c.field
	text := from.Kind == record.String && c.form == asItIs
	switch {
	case from.Kind == f.Kind:
		return f.Kind != record.Decimal || f.Scale >= from.Scale
	case text || from.Kind == record.Bytes && c.form == asItIs && f.Kind == record.String:
		return true
	case from.Kind == record.Int32 || from.Kind == record.Int64:
		return f.Kind == record.Int32 || f.Kind == record.Int64 || f.Kind == record.Decimal
	case from.Kind == record.Float32:
		return f.Kind == record.Float64
	}
	return false
}
