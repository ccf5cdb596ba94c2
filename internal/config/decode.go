package config

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills Go values from nodes and gathers every mistake.
type decoder struct {
	file     *source
	problems Problems
}

func (d *decoder) problem(n *node, code, remedy, format string, args ...any) {
	d.problems = append(d.problems, d.file.at(n, code, remedy, format, args...))
}

// field is a field of a struct, with what its tags say.
type field struct {
	value     reflect.Value
	name      string
	doc       string
	enum      []string
	scalar    bool // filled by a value that stands in place of the mapping
	inline    bool // takes the keys that no other field takes
	extension bool // takes the keys that begin with x-
	required  bool
	declared  bool // by a struct; the names of other values are the user's
}

// fieldsOf lists the fields that a file can fill; those of embedded structs are its own.
func fieldsOf(v reflect.Value) []field {
	var out []field
	for i := range v.NumField() {
		t := v.Type().Field(i)
		tag, tagged := t.Tag.Lookup("yaml")
		switch {
		case tag == "-" || !t.IsExported():
			continue
		case t.Anonymous && !tagged && t.Type.Kind() == reflect.Struct:
			out = append(out, fieldsOf(v.Field(i))...)
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		f := field{value: v.Field(i), name: name, doc: t.Tag.Get("doc"), required: t.Tag.Get("required") == "true", declared: true}
		if f.name == "" {
			f.name = strings.ToLower(t.Name)
		}
		for o := range strings.SplitSeq(options, ",") {
			f.scalar = f.scalar || o == "scalar"
			f.inline = f.inline || o == "inline"
			f.extension = f.extension || o == "extension"
		}
		if enum := t.Tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		out = append(out, f)
	}
	return out
}

// structure fills a struct. key is where it is pointed at as a whole.
func (d *decoder) structure(v reflect.Value, n, key *node, what string) {
	fields := fieldsOf(v)
	seen := map[string]bool{}
	guessed := map[string]bool{}
	if n.kind != mapping {
		i := slices.IndexFunc(fields, func(f field) bool { return f.scalar && stands(f.value.Type(), n) })
		if i < 0 {
			d.wrong(n, what, "a mapping", "")
			return
		}
		d.value(fields[i].value, n, key, fields[i])
		seen[fields[i].name] = true
	}
	rest := &node{kind: mapping, line: n.line, column: n.column, width: n.width}
	inline := slices.IndexFunc(fields, func(f field) bool { return f.inline })
	for _, p := range n.pairs {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == p.key.text && !f.inline && !f.extension })
		switch {
		case i >= 0:
			seen[p.key.text] = true
			d.value(fields[i].value, p.value, p.key, fields[i])
		case inline >= 0:
			rest.pairs = append(rest.pairs, p)
		case strings.HasPrefix(p.key.text, "x-") && slices.ContainsFunc(fields, func(f field) bool { return f.extension }):
		default:
			known := names(fields)
			guess := nearest(p.key.text, known)
			guessed[guess] = true
			d.problem(p.key, CodeUnknown, suggest(p.key.text, known), "unknown key %q in %s", p.key.text, what)
			d.meant(fields, n, p, guess)
		}
	}
	if inline >= 0 && len(rest.pairs) > 0 {
		f := fields[inline]
		f.name = what
		seen[fields[inline].name] = true
		d.value(f.value, rest, key, f)
	}
	for _, f := range fields {
		if f.required && !seen[f.name] && !guessed[f.name] {
			d.missing(f, key, what)
		}
	}
}

// meant reads what a misspelt key of the file's frame holds, so that its mistakes are told too.
func (d *decoder) meant(fields []field, n *node, p pair, guess string) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == guess && isFrame(f.value.Type()) })
	if _, there := n.get(guess); i >= 0 && !there {
		p.key.text = guess
		d.value(fields[i].value, p.value, p.key, fields[i])
	}
}

// isFrame says whether the values of a type are kept as nodes.
func isFrame(t reflect.Type) bool {
	if isOrdered(t) {
		value, _ := t.Elem().FieldByName("Value")
		return value.Type == reflect.TypeFor[*node]()
	}
	return t == reflect.TypeFor[*node]() || t == reflect.TypeFor[[]*node]()
}

func (d *decoder) missing(f field, key *node, what string) {
	if f.inline {
		d.problem(key, CodeMissing, "", "%s is empty", what)
		return
	}
	remedy := "add " + f.name + ": ..."
	if f.doc != "" {
		remedy += " (" + strings.TrimSuffix(f.doc, ".") + ")"
	}
	d.problem(key, CodeMissing, remedy, "%s has no %s", what, f.name)
}

func names(fields []field) []string {
	var out []string
	for _, f := range fields {
		if !f.inline && !f.extension {
			out = append(out, f.name)
		}
	}
	return out
}

// stands says whether a value can stand in place of the mapping for a field of this type.
func stands(t reflect.Type, n *node) bool {
	many := t.Kind() == reflect.Slice && !isOrdered(t)
	return n.kind == scalar && t.Kind() != reflect.Map && !isOrdered(t) || n.kind == list && many
}

func isOrdered(t reflect.Type) bool {
	if t.Kind() != reflect.Slice {
		return false
	}
	e := t.Elem()
	return e.Kind() == reflect.Struct && e.PkgPath() == reflect.TypeFor[Size]().PkgPath() && strings.HasPrefix(e.Name(), "Entry[")
}

// value fills a value of any kind.
func (d *decoder) value(v reflect.Value, n, key *node, f field) {
	t := v.Type()
	switch {
	case t == reflect.TypeFor[*node]():
		v.Set(reflect.ValueOf(n))
		return
	case n.broken:
		return
	case n.kind == null:
		d.problem(spot(key, n), CodeWrong, "give it a value, or remove the key", "%s has no value", f.name)
		return
	case t.Kind() == reflect.Pointer:
		fresh := reflect.New(t.Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		d.value(fresh.Elem(), n, key, f)
		v.Set(fresh)
		return
	case d.special(v, n, f):
		return
	case isOrdered(t):
		d.ordered(v, n, f)
		return
	case isText(v):
		d.unmarshal(v, n, f)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		d.structure(v, n, spot(key, n), f.name)
	case reflect.Map:
		d.table(v, n, f)
	case reflect.Slice:
		d.slice(v, n, f)
	default:
		d.scalar(v, n, key, f)
	}
}

func isText(v reflect.Value) bool {
	return v.CanAddr() && v.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (d *decoder) unmarshal(v reflect.Value, n *node, f field) {
	if n.kind != scalar {
		d.wrong(n, f.name, "text", "")
		return
	}
	into, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if !ok {
		return
	}
	if err := into.UnmarshalText([]byte(n.text)); err != nil {
		d.problem(n, CodeWrong, "", "%s: %v", f.name, d.unprinted(n, err.Error()))
	}
}

// unprinted keeps what a reference stands for out of an error of other code.
func (d *decoder) unprinted(n *node, text string) string {
	if n.expanded() && n.text != "" {
		return strings.ReplaceAll(text, n.text, n.written)
	}
	return text
}

func (d *decoder) ordered(v reflect.Value, n *node, f field) {
	if n.kind != mapping {
		d.wrong(n, f.name, "a mapping of names to values", "")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.pairs), len(n.pairs))
	for i, p := range n.pairs {
		out.Index(i).FieldByName("Name").SetString(p.key.text)
		d.value(out.Index(i).FieldByName("Value"), p.value, p.key, field{name: p.key.text, enum: f.enum})
	}
	v.Set(out)
}

func (d *decoder) table(v reflect.Value, n *node, f field) {
	switch {
	case v.Type().Key().Kind() != reflect.String:
		d.unsupported(v, n, f)
		return
	case n.kind != mapping:
		d.wrong(n, f.name, "a mapping of names to values", "")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.pairs))
	for _, p := range n.pairs {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(value, p.value, p.key, field{name: p.key.text, enum: f.enum})
		out.SetMapIndex(reflect.ValueOf(p.key.text).Convert(v.Type().Key()), value)
	}
	v.Set(out)
}

func (d *decoder) slice(v reflect.Value, n *node, f field) {
	items := n.items
	if n.kind != list {
		element := v.Type().Elem()
		one := element == reflect.TypeFor[*node]() || element.Kind() == reflect.String && n.kind == scalar
		if !one {
			d.wrong(n, f.name, "a list", "")
			return
		}
		items = []*node{n}
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(out.Index(i), item, nil, field{name: f.name + "[" + strconv.Itoa(i) + "]", enum: f.enum})
	}
	v.Set(out)
}

func (d *decoder) wrong(n *node, name, want, remedy string) {
	found := n.shown()
	if n.kind == scalar {
		switch {
		case n.expanded():
			found = "what " + found + " stands for"
		case n.text == "" || n.style != plain || strings.ContainsAny(n.text, " ,"):
			found = strconv.Quote(found)
		}
	}
	d.problem(n, CodeWrong, remedy, "%s: want %s, found %s", name, want, found)
}

func (d *decoder) unsupported(v reflect.Value, n *node, f field) {
	d.problem(n, CodePlugin, "report it to who made the plugin", "%s: no value can be read into a %s", f.name, v.Type())
}

// spot is where a value is pointed at: a scalar itself, anything larger at its key.
func spot(key, n *node) *node {
	if n == nil || key != nil && n.kind != scalar {
		return key
	}
	return n
}

// duration writes a duration without the parts that are 0.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
