package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// refusal describes a row that failed; text gives its values as the server prints them.
func (d *Decoder) refusal(err error, text func(column int) ([]byte, bool)) *RowError {
	r := &RowError{Err: err}
	if e, ok := errors.AsType[*columnError](err); ok {
		r.Column, r.Err = d.layout.fields[e.field].Name, e.err
	}
	for _, name := range d.layout.table.Key {
		column := slices.IndexFunc(d.layout.table.Columns, func(c Column) bool { return c.Name == name })
		if v, ok := text(column); ok {
			r.Key = append(r.Key, fmt.Sprintf("%.100s", v))
		}
	}
	r.Raw = append(r.Raw, '{')
	for i := range d.layout.table.Columns {
		if len(r.Raw) > maxRaw {
			break
		}
		if i > 0 {
			r.Raw = append(r.Raw, ',')
		}
		r.Raw = append(record.AppendJSONString(r.Raw, d.layout.table.Columns[i].Name), ':')
		v, ok := text(i)
		if !ok {
			r.Raw = append(r.Raw, "null"...)
			continue
		}
		r.Raw = record.AppendJSONString(r.Raw, strings.ToValidUTF8(string(v[:min(len(v), maxRaw)]), "\uFFFD"))
	}
	if r.Raw = append(r.Raw, '}'); len(r.Raw) > maxRaw {
		r.Raw = r.Raw[:maxRaw]
	}
	return r
}

// poison makes an error of a refusal, which names stream, key and column.
func (d *Decoder) poison(r *RowError) error {
	place := d.schema.Stream
	if len(r.Key) > 0 {
		place += ", key " + strings.Join(r.Key, ", ")
	}
	if r.Column != "" {
		place += ", column " + r.Column
	}
	e := &fault.Error{Class: fault.Poison, Code: codeUnfit, Place: place, Err: r}
	switch {
	case errors.Is(r.Err, errHuge):
		e.Code, e.Remedy = codeHuge, hugeRemedy
	case errors.Is(r.Err, errOdd) && d.layout.options.FailUnrepresentable:
		e.Remedy = "on_unrepresentable: text keeps such values as text beside the column"
	}
	return e
}
