package record

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseType makes a nullable field of a type as schemas write it: a kind's name, or "decimal(precision,scale)". Nested
// types and versions have no such name.
func ParseType(name, text string) (Field, error) {
	f := Field{Name: name, Nullable: true}
	base, args, parametrised := strings.Cut(strings.TrimSpace(text), "(")
	kind, ok := KindOf(strings.TrimSpace(base))
	switch {
	case !ok || kind == VersionText || kind == List || kind == Struct:
		return f, fmt.Errorf("%q is no type: want bool, int32, int64, float32, float64, decimal(precision,scale), date, "+
			"timestamp, local_timestamp, string or bytes", text)
	case kind != Decimal && parametrised:
		return f, fmt.Errorf("%q: %s takes nothing in parentheses", text, kind)
	}
	f.Kind = kind
	if kind != Decimal {
		return f, nil
	}
	p, s, _ := strings.Cut(strings.TrimSuffix(args, ")"), ",")
	var err1, err2 error
	f.Precision, err1 = strconv.Atoi(strings.TrimSpace(p))
	if s != "" {
		f.Scale, err2 = strconv.Atoi(strings.TrimSpace(s))
	}
	if err1 != nil || err2 != nil || !strings.HasSuffix(args, ")") || f.Precision < 1 || f.Precision > 38 || f.Scale < 0 || f.Scale > f.Precision {
		return f, fmt.Errorf("%q: want decimal(precision,scale), with a precision of 1 to 38 and a scale of 0 to the precision", text)
	}
	return f, nil
}

// TypeName writes the type of a field as ParseType reads it.
func (f Field) TypeName() string {
	if f.Kind == Decimal {
		return fmt.Sprintf("decimal(%d,%d)", f.Precision, f.Scale)
	}
	return f.Kind.String()
}
