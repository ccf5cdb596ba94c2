package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Key describes a key of a plugin's configuration, for schemas and reference pages.
type Key struct {
	Name     string   `json:"name"` // "*" takes all keys that no other takes
	Type     string   `json:"type"` // text, secret, bool, integer, number, duration, size, share, mapping, "list of ...", "mapping of ..."
	Doc      string   `json:"doc,omitempty"`
	Enum     []string `json:"enum,omitempty"`
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	Short    bool     `json:"short,omitempty"` // a bare value in place of the mapping is this key's
	Keys     []Key    `json:"keys,omitempty"`  // of a mapping, or of the mappings in a list or mapping
}

// Describe lists the keys of a configuration, a struct or a pointer to one, which holds the defaults.
func Describe(config any) []Key { return describe(reflect.ValueOf(config), 0) }

// DescribeFile lists the keys of a file; sources, sinks and steps have those of their plugins.
func DescribeFile() (file, pipeline []Key) { return Describe(&fileKeys{}), Describe(&pipelineKeys{}) }

// DescribeTest lists the keys of a test.
func DescribeTest() []Key { return Describe(&testKeys{}) }

// maxLevels ends what types that hold themselves would go on with.
const maxLevels = 8

func describe(v reflect.Value, level int) []Key {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || level > maxLevels {
		return nil
	}
	addressable := reflect.New(v.Type()).Elem()
	addressable.Set(v)
	var out []Key
	for _, f := range fieldsOf(addressable) {
		if f.extension {
			continue
		}
		k := Key{Name: f.name, Doc: f.doc, Enum: f.enum, Required: f.required, Short: f.scalar}
		k.Type, k.Keys = typed(f.value, level)
		if f.inline {
			k.Name = "*"
			k.Type = strings.TrimPrefix(k.Type, "mapping of ")
		}
		if f.value.Kind() != reflect.Struct && !f.value.IsZero() {
			k.Default = written(f.value)
		}
		out = append(out, k)
	}
	return out
}

// typed names the type of a value and gives the keys of what is in it.
func typed(v reflect.Value, level int) (name string, keys []Key) {
	t := v.Type()
	inner := func(prefix string, t reflect.Type) (string, []Key) {
		name, keys := typed(reflect.New(t).Elem(), level+1)
		return prefix + name, keys
	}
	switch {
	case level > maxLevels || t == reflect.TypeFor[*node]():
		return "any", nil
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			return typed(reflect.New(t.Elem()).Elem(), level)
		}
		return typed(v.Elem(), level)
	case t == reflect.TypeFor[Row]():
		return "row", nil
	case t == reflect.TypeFor[Output]():
		return "rows", nil
	case isOrdered(t):
		value, _ := t.Elem().FieldByName("Value")
		return inner("mapping of ", value.Type)
	case isText(v):
		return "text", nil
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration", nil
	case reflect.TypeFor[Size]():
		return "size", nil
	case reflect.TypeFor[Share]():
		return "share", nil
	case reflect.TypeFor[Secret]():
		return "secret", nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return "mapping", describe(v, level+1)
	case reflect.Slice:
		return inner("list of ", t.Elem())
	case reflect.Map:
		return inner("mapping of ", t.Elem())
	case reflect.Bool:
		return "bool", nil
	case reflect.String:
		return "text", nil
	case reflect.Float32, reflect.Float64:
		return "number", nil
	default:
		return "integer", nil
	}
}

// written gives a value as a file has it, or "" when it is no single one.
func written(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return duration(value)
	case encoding.TextMarshaler:
		text, err := value.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return written(v.Elem())
	case reflect.Map, reflect.Struct, reflect.Interface:
		return ""
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return ""
		}
		return fmt.Sprintf("[%s]", strings.Join(texts(v), ", "))
	default:
		return fmt.Sprint(v.Interface())
	}
}

func texts(v reflect.Value) []string {
	out := make([]string, v.Len())
	for i := range out {
		out[i] = v.Index(i).String()
	}
	return out
}
