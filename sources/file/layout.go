package file

import (
	"errors"
	"fmt"
	"os"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// layout is what the footer of a Parquet file says.
type layout struct {
	of      *input
	columns []parquet.FileColumn
	groups  []parquet.RowGroup
	rows    int64
}

// openFile opens a Parquet file. What is wrong with it is told of the file.
func openFile(in *input) (*os.File, *parquet.File, error) {
	f, err := os.Open(in.path)
	if err != nil {
		return nil, nil, cannotOpen(in.path, err)
	}
	p, err := parquet.Open(f, in.size)
	if err != nil {
		return nil, nil, stop(codeDamaged, in.path, "put a whole Parquet file there", errors.Join(err, f.Close()))
	}
	return f, p, nil
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
	l = &layout{of: in, columns: p.Columns(), groups: p.Groups(), rows: p.Rows()}
	if err := f.Close(); err != nil {
		return nil, cannotOpen(in.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layouts[in.path] = l
	return l, nil
}

// runs gives the row groups that lanes begin with: each lane has so many bytes or more.
func (l *layout) runs(piece int64) []int64 {
	starts, held := []int64{0}, int64(0)
	for i, g := range l.groups {
		if held >= piece {
			starts, held = append(starts, int64(i)), 0
		}
		held += g.Stored
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
				from += g.Rows
			}
			to += g.Rows
		}
		return from, to, true
	}
	return 0, 0, false
}

// kept is the field that holds the values of a column without loss, and why it cannot be read.
func kept(c *parquet.FileColumn) (record.Field, error) {
	f, err := c.Field, c.Err
	if err == nil && (f.Kind == record.List || f.Kind == record.Struct) {
		err = errors.New("it is nested")
	}
	f.Name, f.Nullable = schemas.ColumnName(f.Name), true
	return f, err
}

// parquetFields gives the columns of a file, for a stream whose schema is not declared.
func (s *Source) parquetFields(in *input) ([]record.Field, error) {
	l, err := s.layout(in)
	if err != nil {
		return nil, err
	}
	var fields []record.Field
	var bad []error
	for i := range l.columns {
		f, why := kept(&l.columns[i])
		if why != nil {
			why = fmt.Errorf("cannot be read: %w", why)
			bad = append(bad, stop(codeType, in.path+", column "+l.columns[i].Field.Name, "declare a schema without it", why))
		}
		fields = append(fields, f)
	}
	return fields, errors.Join(bad...)
}

// bindParquet finds the columns of the schema in the file, and sees that their types go together. A text that becomes
// something else is wanted as the text that it is.
func (s *Source) bindParquet(l *layout, in *input, schema *record.Schema) ([]parquet.Wanted, error) {
	var names []string
	for i := range l.columns {
		names = append(names, l.columns[i].Field.Name)
	}
	if err := distinct(names, in.path); err != nil {
		return nil, err
	}
	from, ignored, err := match(schema, names, in.path)
	if err != nil {
		return nil, err
	}
	s.ignore(ignored)
	var out []parquet.Wanted
	var bad []error
	for i, at := range from {
		c, f := &l.columns[at], schema.Fields[i]
		stored, why := kept(c)
		parsed := c.Text && stored.Kind == record.String && f.Kind != record.String && f.Kind != record.Bytes
		if why == nil && !parsed && !c.Fits(f) {
			why = fmt.Errorf("it is %s in the file and %s in the schema", stored.TypeName(), f.TypeName())
		}
		if why != nil {
			remedy := "leave it out of the schema, or declare the type that it has; all files of a stream have the same types"
			bad = append(bad, stop(codeType, in.path+", column "+c.Field.Name, remedy, fmt.Errorf("cannot be read: %w", why)))
		}
		if parsed {
			f = record.Field{Name: f.Name, Kind: record.String, Nullable: f.Nullable}
		}
		out = append(out, parquet.Wanted{Column: at, Field: f})
	}
	return out, errors.Join(bad...)
}
