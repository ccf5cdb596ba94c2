package expr

import (
	"github.com/acequia-io/acequia/record"
)

// kind is the type of an expression.
type kind uint8

const (
	kNull      kind = iota + 1
	kBool           // vec.bits
	kInt            // Ints
	kDouble         // Floats
	kString         // Bytes and Offsets
	kBytes          // Bytes and Offsets
	kTimestamp      // Ints, microseconds
	kLocal          // Ints, microseconds of no time zone
	kDate           // Ints, days
	kDuration       // Ints, microseconds
	kDecimal        // Ints or Wide, as field says
	kList           // as field says
	kStruct         // as field says
)

// typ is a kind and, where that does not say all, the field that it comes from.
type typ struct {
	kind  kind
	field record.Field
}

// name is what messages call the type.
func (t typ) name() string {
	switch t.kind {
	case kNull:
		return "null"
	case kInt:
		return "int"
	case kDouble:
		return "double"
	case kDuration:
		return "duration"
	default:
		return t.result().TypeName()
	}
}

// result is the field that a column of the type has, without a name; of a null or a duration there is none.
func (t typ) result() record.Field {
	switch t.kind {
	case kBool:
		return record.Field{Kind: record.Bool}
	case kInt:
		return record.Field{Kind: record.Int64}
	case kDouble:
		return record.Field{Kind: record.Float64}
	case kString:
		return record.Field{Kind: record.String}
	case kBytes:
		return record.Field{Kind: record.Bytes}
	case kTimestamp:
		return record.Field{Kind: record.Timestamp}
	case kLocal:
		return record.Field{Kind: record.LocalTimestamp}
	case kDate:
		return record.Field{Kind: record.Date}
	default:
		f := t.field
		f.Name = ""
		return f
	}
}

// typeOf gives the type of a column, or false where expressions cannot read it.
func typeOf(f record.Field) (typ, bool) {
	t := typ{field: f}
	switch f.Kind {
	case record.Bool:
		t.kind = kBool
	case record.Int32, record.Int64:
		t.kind = kInt
	case record.Float32, record.Float64:
		t.kind = kDouble
	case record.Decimal:
		t.kind = kDecimal
	case record.Date:
		t.kind = kDate
	case record.Timestamp:
		t.kind = kTimestamp
	case record.LocalTimestamp:
		t.kind = kLocal
	case record.String:
		t.kind = kString
	case record.Bytes:
		t.kind = kBytes
	case record.List:
		t.kind = kList
	case record.Struct:
		t.kind = kStruct
	default:
		return t, false
	}
	return t, true
}

// same says whether a value of one type can stand where one of the other does, slot for slot.
func same(a, b typ) bool {
	if a.kind == kDecimal && b.kind == kDecimal {
		return a.field.Precision == b.field.Precision && a.field.Scale == b.field.Scale
	}
	return a.kind == b.kind && a.kind != kList && a.kind != kStruct
}

// instant says whether the type is a point in time.
func (t typ) instant() bool { return t.kind == kTimestamp || t.kind == kLocal || t.kind == kDate }

// text says whether values are in Bytes and Offsets.
func (t typ) text() bool { return t.kind == kString || t.kind == kBytes }

// wide says whether values are in Wide.
func (t typ) wide() bool { return t.kind == kDecimal && t.field.Wide() }
