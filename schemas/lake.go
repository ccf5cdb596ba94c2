// Package schemas holds what is declared about data: tables with their forms and checks, the description of a lake's
// tables, and their mappings to Athena and DuckDB.
package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// The system columns that stand in every file of a lake, after the table's own.
const (
	OpColumn        = "_op"
	VersionColumn   = "_version"
	EventIDColumn   = "_event_id"
	SourceColumn    = "_source"
	EventTimeColumn = "_event_ts"
	IngestColumn    = "_ingest_ts"
)

// SystemFields gives the system columns in their order.
func SystemFields() []record.Field {
	return []record.Field{
		{Name: OpColumn, Kind: record.String},
		{Name: VersionColumn, Kind: record.VersionText},
		{Name: EventIDColumn, Kind: record.String, Nullable: true},
		{Name: SourceColumn, Kind: record.String},
		{Name: EventTimeColumn, Kind: record.Timestamp},
		{Name: IngestColumn, Kind: record.Timestamp},
	}
}

// Partition is one level of a table's folders.
type Partition struct {
	Name string // of the folder's key
	From string // the column it is taken from; of EventTimeColumn it is the UTC date
	Kind record.Kind
}

// Dated says whether the folders of the level are days.
func (p Partition) Dated() bool {
	return p.From == EventTimeColumn || p.Kind == record.Date || p.Kind == record.String && p.Name == "dt"
}

// EventDate is the partition of a table that declares none: dt, the UTC date of the event.
func EventDate() Partition {
	return Partition{Name: "dt", From: EventTimeColumn, Kind: record.String}
}

// LakeTable is what a lake knows of one of its tables; it stands beside the files, at _tables/<name>.json.
type LakeTable struct {
	Name      string
	Stream    string
	Key       []string
	Columns   []record.Field // of the records, without the system columns
	Partition []Partition
	Version   int // counts the changes of Columns, from 1
}

// NewLakeTable describes the table of a stream. A partition names a column of the schema; none is EventDate.
func NewLakeTable(name string, s *record.Schema, partition []string) (*LakeTable, error) {
	t := &LakeTable{Name: name, Stream: s.Stream, Key: s.KeyNames(), Version: 1}
	folded := map[string]string{}
	for _, f := range s.Fields {
		f.Name = ColumnName(f.Name)
		if other, ok := folded[f.Name]; ok || strings.HasPrefix(f.Name, "_") && isSystem(f.Name) {
			return nil, fmt.Errorf("table %s: two columns would be called %s (%s)", name, f.Name, other)
		}
		folded[f.Name] = f.Name
		t.Columns = append(t.Columns, f)
	}
	for i, k := range t.Key {
		t.Key[i] = ColumnName(k)
	}
	for _, p := range partition {
		i := s.Index(p)
		if i < 0 {
			return nil, fmt.Errorf("table %s: partition column %q is not in the schema", name, p)
		}
		switch k := s.Fields[i].Kind; k {
		case record.String, record.Int32, record.Int64, record.Date, record.Bool:
			t.Partition = append(t.Partition, Partition{Name: t.Columns[i].Name, From: t.Columns[i].Name, Kind: k})
		default:
			return nil, fmt.Errorf("table %s: a column of kind %s cannot partition", name, k)
		}
	}
	if len(t.Partition) == 0 {
		t.Partition = []Partition{EventDate()}
	}
	return t, nil
}

func isSystem(name string) bool {
	for _, f := range SystemFields() {
		if f.Name == name {
			return true
		}
	}
	return false
}

// LakeName is the name of a stream's table: the schema `public` is left out, anything but a-z, 0-9 and _ becomes _.
func LakeName(stream string) string {
	return ColumnName(strings.ReplaceAll(strings.TrimPrefix(stream, "public."), ".", "_"))
}

// ColumnName is the name that a column has in the lake: lower case, only a-z, 0-9 and _, no leading digit.
func ColumnName(name string) string {
	out := []byte(strings.ToLower(name))
	for i, c := range out {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			out[i] = '_'
		}
	}
	if len(out) == 0 || out[0] >= '0' && out[0] <= '9' {
		return "_" + string(out)
	}
	return string(out)
}

// Evolve gives the table after its stream came with other columns: see EvolveColumns. It gives t itself when nothing changes.
func (t *LakeTable) Evolve(s *record.Schema) (*LakeTable, error) {
	fields := append([]record.Field(nil), s.Fields...)
	for i := range fields {
		fields[i].Name = ColumnName(fields[i].Name)
	}
	columns, changed, err := EvolveColumns(t.Columns, fields)
	if err != nil {
		return nil, fmt.Errorf("table %s, %w", t.Name, err)
	}
	if !changed {
		return t, nil
	}
	next := *t
	next.Columns = columns
	next.Version++
	return &next, nil
}

// EvolveColumns gives the columns of a table after its stream came with other fields: one that is new is nullable, one that is gone
// stays and is nullable, a wider type widens it. Anything else is an error that names the column.
func EvolveColumns(columns, fields []record.Field) (next []record.Field, changed bool, err error) {
	next = append([]record.Field(nil), columns...)
	seen := map[string]bool{}
	for _, f := range fields {
		seen[f.Name] = true
		at := -1
		for i, c := range next {
			if c.Name == f.Name {
				at = i
			}
		}
		if at < 0 {
			f.Nullable, changed = true, true
			next = append(next, f)
			continue
		}
		wider, err := widen(next[at], f)
		if err != nil {
			return nil, false, fmt.Errorf("column %s: %w", f.Name, err)
		}
		changed = changed || !sameField(wider, next[at])
		next[at] = wider
	}
	for i, c := range next {
		if !seen[c.Name] && !c.Nullable {
			next[i].Nullable, changed = true, true
		}
	}
	return next, changed, nil
}

var errNarrower = errors.New("the type cannot change so without a new table")

func widen(old, now record.Field) (record.Field, error) {
	out := old
	out.Nullable = old.Nullable || now.Nullable
	switch {
	case old.Kind == record.Decimal && now.Kind == record.Decimal:
		whole, scale := max(old.Precision-old.Scale, now.Precision-now.Scale), max(old.Scale, now.Scale)
		if whole+scale > 38 {
			return out, fmt.Errorf("decimal(%d,%d): %w", whole+scale, scale, errNarrower)
		}
		out.Precision, out.Scale = whole+scale, scale
		return out, nil
	case old.Kind == now.Kind && (old.Kind == record.List || old.Kind == record.Struct):
		if !sameFields(old.Fields, now.Fields) {
			return out, fmt.Errorf("%s with other members: %w", old.Kind, errNarrower)
		}
		return out, nil
	case old.Kind == now.Kind, old.Kind == record.Int64 && now.Kind == record.Int32,
		old.Kind == record.Float64 && now.Kind == record.Float32:
		return out, nil
	case old.Kind == record.Int32 && now.Kind == record.Int64, old.Kind == record.Float32 && now.Kind == record.Float64:
		out.Kind = now.Kind
		return out, nil
	}
	return out, fmt.Errorf("%s became %s: %w", old.Kind, now.Kind, errNarrower)
}

func sameFields(a, b []record.Field) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameField(a[i], b[i]) {
			return false
		}
	}
	return true
}

func sameField(a, b record.Field) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.Nullable == b.Nullable && a.Precision == b.Precision &&
		a.Scale == b.Scale && sameFields(a.Fields, b.Fields)
}

// fieldJSON is a column as the table's file writes it.
type fieldJSON struct {
	Name      string      `json:"name"`
	Type      string      `json:"type"`
	Nullable  bool        `json:"nullable,omitempty"`
	Precision int         `json:"precision,omitempty"`
	Scale     int         `json:"scale,omitempty"`
	Fields    []fieldJSON `json:"fields,omitempty"`
}

type partitionJSON struct {
	Name string `json:"name"`
	From string `json:"from"`
	Type string `json:"type"`
}

type tableJSON struct {
	Name      string          `json:"name"`
	Stream    string          `json:"stream"`
	Version   int             `json:"version"`
	Key       []string        `json:"key"`
	Partition []partitionJSON `json:"partition"`
	Columns   []fieldJSON     `json:"columns"`
}

// Encode gives the description as the file of the table holds it.
func (t *LakeTable) Encode() ([]byte, error) {
	out := tableJSON{Name: t.Name, Stream: t.Stream, Version: t.Version, Key: t.Key, Columns: encodeFields(t.Columns)}
	for _, p := range t.Partition {
		out.Partition = append(out.Partition, partitionJSON{p.Name, p.From, p.Kind.String()})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}

// EncodeColumns gives columns as JSON.
func EncodeColumns(columns []record.Field) ([]byte, error) {
	return json.Marshal(encodeFields(columns))
}

// DecodeColumns reads what EncodeColumns wrote.
func DecodeColumns(text []byte) ([]record.Field, error) {
	var in []fieldJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("read columns: %w", err)
	}
	return decodeFields(in)
}

func encodeFields(fields []record.Field) []fieldJSON {
	var out []fieldJSON
	for _, f := range fields {
		out = append(out, fieldJSON{f.Name, f.Kind.String(), f.Nullable, f.Precision, f.Scale, encodeFields(f.Fields)})
	}
	return out
}

// DecodeLakeTable reads what Encode wrote.
func DecodeLakeTable(text []byte) (*LakeTable, error) {
	var in tableJSON
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("read table description: %w", err)
	}
	t := &LakeTable{Name: in.Name, Stream: in.Stream, Version: in.Version, Key: in.Key}
	var err error
	if t.Columns, err = decodeFields(in.Columns); err != nil {
		return nil, fmt.Errorf("read table description of %s: %w", in.Name, err)
	}
	for _, p := range in.Partition {
		k, ok := record.KindOf(p.Type)
		if !ok {
			return nil, fmt.Errorf("read table description of %s: unknown type %q", in.Name, p.Type)
		}
		t.Partition = append(t.Partition, Partition{p.Name, p.From, k})
	}
	if t.Name == "" || len(t.Columns) == 0 || len(t.Partition) == 0 {
		return nil, errors.New("read table description: name, columns and partition are needed")
	}
	return t, nil
}

func decodeFields(in []fieldJSON) ([]record.Field, error) {
	var out []record.Field
	for _, f := range in {
		k, ok := record.KindOf(f.Type)
		if !ok {
			return nil, fmt.Errorf("column %s: unknown type %q", f.Name, f.Type)
		}
		members, err := decodeFields(f.Fields)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		out = append(out, record.Field{Name: f.Name, Kind: k, Nullable: f.Nullable, Precision: f.Precision, Scale: f.Scale, Fields: members})
	}
	return out, nil
}
