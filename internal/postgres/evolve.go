package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// keep begins the fields with those that the stream had. Its __raw columns are no fields.
func (l *Layout) keep(kept *record.Schema) error {
	if kept == nil {
		return nil
	}
	if before := kept.KeyNames(); !slices.Equal(before, l.table.Key) {
		return &fault.Error{
			Class: fault.Fatal, Code: codeKey, Place: l.options.Stream,
			Err:    fmt.Errorf("the key was (%s) and is (%s)", strings.Join(before, ", "), strings.Join(l.table.Key, ", ")),
			Remedy: "give the stream another name with table_name, or read the table anew",
		}
	}
	for _, f := range kept.Fields {
		base, raw := strings.CutSuffix(strings.TrimRight(f.Name, "_"), RawSuffix)
		if raw && f.Kind == record.String && l.table.Column(f.Name) == nil && kept.Index(base) >= 0 {
			continue
		}
		l.fields = append(l.fields, fieldLayout{Field: f, column: -1})
	}
	return nil
}

// widen fits the codec of a column and the field that its stream had to each other: the wider of both types is taken.
func (l *Layout) widen(f *fieldLayout, c *codec, col *Column) error {
	old, now := f.Field, c.field
	switch {
	case old.Kind == record.Decimal && now.Kind == record.Decimal:
		whole, scale := max(old.Precision-old.Scale, now.Precision-now.Scale), max(old.Scale, now.Scale)
		if whole+scale > maxDigits {
			return l.otherType(f, col)
		}
		now.Precision, now.Scale = whole+scale, scale
		if c.op != opXID8 {
			wider := decimalCodec(now)
			wider.note = c.note
			*c = wider
		}
	case old.Kind == record.Int64 && now.Kind == record.Int32, old.Kind == record.Float64 && now.Kind == record.Float32:
		now = old
	case old.Kind == record.Int32 && now.Kind == record.Int64, old.Kind == record.Float32 && now.Kind == record.Float64:
	case old.Kind != now.Kind || !sameFields(old.Fields, now.Fields):
		return l.otherType(f, col)
	}
	now.Name, now.Nullable = old.Name, old.Nullable
	f.Field = now
	return nil
}

func sameFields(a, b []record.Field) bool {
	return slices.EqualFunc(a, b, func(a, b record.Field) bool {
		return a.Name == b.Name && a.Kind == b.Kind && a.Precision == b.Precision && a.Scale == b.Scale && sameFields(a.Fields, b.Fields)
	})
}

func (l *Layout) otherType(f *fieldLayout, col *Column) error {
	now := codecOf(&col.Type)
	return &fault.Error{
		Class: fault.Fatal, Code: codeType, Place: l.options.Stream + ", column " + col.Name,
		Err:    fmt.Errorf("its type became %s, which is %s, and was %s", col.TypeName, now.field.TypeName(), f.TypeName()),
		Remedy: "change the type back, or give the stream another name with table_name and read the table anew",
	}
}
