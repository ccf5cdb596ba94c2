package schemas

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// checkField finds settings of a field that do not go together.
func (l *loader) checkField(f *Field, n ast.Node) {
	wrong := func(format string, args ...any) {
		l.mistake(n, "field %s: "+format, append([]any{f.Name}, args...)...)
	}
	if f.Name != "" && !nameOf.MatchString(f.Name) {
		wrong("the name must match %s", nameOf)
	}
	if f.Type == 0 {
		return
	}
	l.checkLimits(f, wrong)
	switch {
	case (f.Type == UUID) != f.Generated:
		wrong("a uuid is generated, and nothing else is")
	case f.Generated && f.Required:
		wrong("what is generated is not required of anybody")
	}
	if f.Type == Boolean {
		f.Options = []Option{{"true", Text{"Yes", "Sí"}}, {"false", Text{"No", "No"}}}
	}
	widgets := types[f.Type].widgets
	switch {
	case f.Widget != "" && !slices.Contains(widgets, f.Widget):
		wrong("the widget of this %s is one of %q", f.Type, widgets)
	case f.Widget == "" && len(widgets) > 0:
		f.Widget = widgets[0]
	}
}

func (l *loader) checkLimits(f *Field, wrong func(string, ...any)) {
	whole := f.Type == Int32 || f.Type == Int64
	switch {
	case f.Type != String && (f.MinLength > 0 || f.MaxLength > 0):
		wrong("only a string has a length")
	case f.MaxLength > 0 && f.MinLength > f.MaxLength:
		wrong("min_length is greater than max_length")
	}
	switch {
	case !whole && f.Type != Decimal && (f.Min.Set || f.Max.Set):
		wrong("only a number has a least and a greatest value")
	case f.Min.Set && f.Max.Set && f.Min.FromNow == f.Max.FromNow && f.Min.Value > f.Max.Value:
		wrong("min is greater than max")
	}
	switch {
	case f.Type == Decimal && (f.Precision < 1 || f.Precision > 38 || f.Scale > f.Precision):
		wrong("a decimal has a precision of 1 to 38 and a scale up to it")
	case f.Type != Decimal && (f.Precision > 0 || f.Scale > 0):
		wrong("only a decimal has a precision and a scale")
	}
	switch {
	case f.Type == Enum && len(f.Options) == 0:
		wrong("an enum has options")
	case f.Type != Enum && len(f.Options) > 0:
		wrong("only an enum has options")
	}
	for i, o := range f.Options {
		if o.Value == "" || slices.ContainsFunc(f.Options[:i], func(p Option) bool { return p.Value == o.Value }) {
			wrong("option %q is empty or stands twice", o.Value)
		}
	}
}

// checkTable finds names of columns that are not there.
func (l *loader) checkTable(t *Table, n ast.Node) {
	known := func(what string, columns []string) {
		for i, c := range columns {
			at := l.at[what+" "+c]
			switch {
			case at == nil: // its own mistake was told already
			case t.Index(c) < 0:
				l.mistake(at, "%s: there is no field %q", what, c)
			case slices.Contains(columns[:i], c):
				l.mistake(at, "%s: %s stands twice", what, c)
			}
		}
	}
	known("key", t.Key)
	known("partition", t.Partition)
	for _, x := range t.Indexes {
		known("index "+x.Name, x.Columns)
	}
	for _, k := range t.Key {
		if i := t.Index(k); i >= 0 && !t.Fields[i].Generated && !t.Fields[i].Required {
			l.mistake(l.at["key "+k], "key: %s must be required or generated", k)
		}
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && len(t.Fields) > 0 && len(t.Key) == 0 {
		l.mistake(n, "table: the key names no field")
	}
}
