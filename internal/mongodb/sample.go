package mongodb

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Guess says how columns are made of documents.
type Guess struct {
	Flatten bool // documents in documents become columns of their fields; else json
	Lists   bool // arrays of one simple type become lists; else json
	Mixed   bool // a field of several types becomes json; else it has the type that is most frequent
}

// maxFlat is how many fields a nested document may have to be flattened: one with more is used as a map.
const maxFlat = 100

// seen is what a field was found to hold.
type seen struct {
	name   string
	types  map[bson.Type]int // without null
	large  bool              // an integer that no double holds
	inner  *fields           // of documents
	items  map[bson.Type]int // of arrays, without null
	order  []bson.Type       // of types, as they were met
	binary map[byte]int      // subtypes
}

// fields are those of documents, in the order in which they were met.
type fields struct {
	list  []*seen
	index map[string]int
}

func (f *fields) add(doc []byte) error {
	var e element
	all := walk(doc)
	for all.next(&e) {
		if len(e.name) == 0 || e.Type == 0 {
			continue
		}
		at, ok := f.index[string(e.name)]
		if !ok {
			if f.index == nil {
				f.index = map[string]int{}
			}
			at = len(f.list)
			f.index[string(e.name)] = at
			f.list = append(f.list, &seen{name: string(e.name), types: map[bson.Type]int{}, items: map[bson.Type]int{}, binary: map[byte]int{}})
		}
		if err := f.list[at].add(e.Value); err != nil {
			return err
		}
	}
	return all.err
}

func (s *seen) add(v Value) error {
	if v.Type == bson.TypeNull {
		return nil
	}
	if s.types[v.Type]++; s.types[v.Type] == 1 {
		s.order = append(s.order, v.Type)
	}
	switch v.Type {
	case bson.TypeInt64:
		s.large = s.large || v.word() > exactInt || v.word() < -exactInt
	case bson.TypeEmbeddedDocument:
		if s.inner == nil {
			s.inner = &fields{}
		}
		return s.inner.add(v.Data)
	case bson.TypeBinary:
		s.binary[v.Data[4]]++
	case bson.TypeArray:
		var e element
		all := walk(v.Data)
		for all.next(&e) {
			if e.Type != bson.TypeNull {
				s.items[e.Type]++
			}
		}
		return all.err
	default: // its type says all
	}
	return nil
}

// Columns makes columns of sampled documents.
func (g Guess) Columns(docs []bson.Raw) ([]Column, error) {
	var all fields
	for _, doc := range docs {
		if err := all.add(doc); err != nil {
			return nil, err
		}
	}
	var out []Column
	used := map[string]bool{KeyColumn: true}
	g.columns(&all, nil, used, &out)
	return out, nil
}

func (g Guess) columns(f *fields, path []string, used map[string]bool, out *[]Column) {
	for _, s := range f.list {
		at := append(append([]string{}, path...), s.name)
		if len(at) == 1 && s.name == KeyColumn {
			continue
		}
		t := g.typeOf(s)
		if g.Flatten && t == "json" && s.inner != nil && len(s.types) == 1 && len(s.inner.list) <= maxFlat && len(path) < maxFlat {
			g.columns(s.inner, at, used, out)
			continue
		}
		name := strings.Join(at, "_")
		for used[name] {
			name += "_"
		}
		used[name] = true
		*out = append(*out, Column{Name: name, Path: at, Type: t})
	}
}

// typeOf gives the type of a column for what a field was found to hold. One that held nothing but null takes anything.
func (g Guess) typeOf(s *seen) string {
	types := s.types
	integers := types[bson.TypeInt32] + types[bson.TypeInt64]
	numbers := integers + types[bson.TypeDouble]
	total, most, kind := 0, 0, bson.Type(0)
	for _, t := range s.order {
		total += types[t]
		if types[t] > most {
			most, kind = types[t], t
		}
	}
	switch {
	case total == 0:
		return "json"
	case total == integers:
		return "int64"
	case total == numbers && types[bson.TypeDouble] > 0 && integers > 0:
		if s.large {
			return "json"
		}
		return "float64"
	case len(types) > 1 && g.Mixed:
		return "json"
	case numbers > most && !s.large && types[bson.TypeDouble] > 0:
		return "float64"
	case integers > most:
		return "int64"
	case kind == bson.TypeArray:
		return g.list(s)
	case kind == bson.TypeBinary:
		return binaryType(s.binary)
	}
	return plainType(kind)
}

func (g Guess) list(s *seen) string {
	if !g.Lists || len(s.items) != 1 {
		return "json"
	}
	for t := range s.items {
		if of := plainType(t); of != "json" {
			return "list(" + of + ")"
		}
	}
	return "json"
}

func binaryType(subtypes map[byte]int) string {
	switch {
	case len(subtypes) == 1 && subtypes[bson.TypeBinaryGeneric] > 0:
		return "bytes"
	case len(subtypes) == 1 && subtypes[bson.TypeBinaryUUID] > 0:
		return "uuid"
	}
	return "json"
}

func plainType(t bson.Type) string {
	switch t {
	case bson.TypeString:
		return "string"
	case bson.TypeBoolean:
		return "bool"
	case bson.TypeInt32, bson.TypeInt64: // others may come
		return "int64"
	case bson.TypeDouble:
		return "float64"
	case bson.TypeDecimal128:
		return "decimal128"
	case bson.TypeDateTime:
		return "timestamp"
	case bson.TypeObjectID:
		return "objectid"
	default:
		return "json"
	}
}
