package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/record"
)

// A description is what holds for all rows of a message: source and ingest time, then the schema. Numbers are varints; a text
// is its length and its bytes.

func appendDescription(dst []byte, s *record.Schema, sys *record.System) []byte {
	dst = appendText(dst, sys.Source)
	dst = binary.AppendVarint(dst, sys.IngestTime)
	dst = appendText(dst, s.Stream)
	dst = binary.AppendUvarint(dst, uint64(len(s.Key)))
	for _, k := range s.Key {
		dst = binary.AppendUvarint(dst, uint64(k)) //nolint:gosec // an index
	}
	return appendFields(dst, s.Fields)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendFields appends a number of fields: name, kind, 1 where it may be null, precision, scale, and its own fields.
func appendFields(dst []byte, fields []record.Field) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(fields)))
	for _, f := range fields {
		nullable := byte(0)
		if f.Nullable {
			nullable = 1
		}
		dst = append(appendText(dst, f.Name), byte(f.Kind), nullable, byte(f.Precision), byte(f.Scale)) //nolint:gosec // at most 38
		dst = appendFields(dst, f.Fields)
	}
	return dst
}

var errDescription = errors.New("its description is not one")

// description reads what appendDescription wrote; bad is set where it is not possible.
type description struct {
	p   []byte
	bad bool
}

func (d *description) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.p)) {
		d.bad = true
		return nil
	}
	out := d.p[:n]
	d.p = d.p[n:]
	return out
}

func (d *description) number() uint64 {
	v, n := binary.Uvarint(d.p)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *description) signed() int64 {
	v, n := binary.Varint(d.p)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *description) text() string { return string(d.take(d.number())) }

// fields reads fields. Each takes six bytes at least, so that their number is bounded by what is left.
func (d *description) fields(depth int) []record.Field {
	n := d.number()
	if n > uint64(len(d.p)) || depth > maxDepth {
		d.bad = true
	}
	var out []record.Field
	for range n {
		if d.bad {
			return nil
		}
		f := record.Field{Name: d.text()}
		p := d.take(4)
		if d.bad {
			return nil
		}
		f.Kind, f.Nullable, f.Precision, f.Scale = record.Kind(p[0]), p[1] == 1, int(p[2]), int(p[3])
		f.Fields = d.fields(depth + 1)
		nested := f.Kind == record.List || f.Kind == record.Struct
		d.bad = d.bad || p[1] > 1 || !nested && len(f.Fields) > 0
		out = append(out, f)
	}
	return out
}

// schema reads a schema, which must have the identity that the header says.
func (d *description) schema(id uint64) (*record.Schema, error) {
	stream := d.text()
	keys := make([]uint64, 0, 4)
	for n := d.number(); n > 0 && !d.bad; n-- {
		keys = append(keys, d.number())
	}
	fields := d.fields(0)
	if d.bad || len(d.p) > 0 {
		return nil, errDescription
	}
	var names []string
	for _, k := range keys {
		if k >= uint64(len(fields)) {
			return nil, errDescription
		}
		names = append(names, fields[k].Name)
	}
	s, err := record.NewSchema(stream, names, fields...)
	if err != nil {
		return nil, err
	}
	if s.ID() != id {
		return nil, fmt.Errorf("its schema has the id %016x, its header says %016x", s.ID(), id)
	}
	return s, nil
}
