package form

import (
	"net/url"
	"strings"

	"github.com/a-h/templ"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/schemas"
)

// formView is what the page of the form shows.
type formView struct {
	frame    page.Page
	table    *schemas.Table
	path     string
	key      string
	inputs   []schemas.Input // what was sent; nil at first
	problems []schemas.Problem
}

// registeredView is what the page of a registered record shows.
type registeredView struct {
	frame page.Page
	table *schemas.Table
	id    string
	facts []fact
}

type fact struct{ label, value string }

func (s *Source) page(v formView) templ.Component {
	v.table, v.path = s.config.Table, s.Path()
	return formPage(v)
}

// sent is the value that a field was sent with.
func (v formView) sent(field int) string {
	if v.inputs == nil {
		return ""
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(v.inputs[field].Text), "\x00", ""), "\uFFFD")
}

// wrong is the message of a field, "" when it is right.
func (v formView) wrong(field int) string {
	for _, p := range v.problems {
		if p.Field == field {
			return v.table.Message(p, v.frame.Lang)
		}
	}
	return ""
}

// describedBy names what a reader should hear with the field.
func (v formView) describedBy(field int) string {
	f := &v.table.Fields[field]
	var ids []string
	if f.Help.In(v.frame.Lang) != "" {
		ids = append(ids, f.Name+"-help")
	}
	if v.wrong(field) != "" {
		ids = append(ids, f.Name+"-error")
	}
	return strings.Join(ids, " ")
}

// attributes are what every input says of itself to a reader.
func (v formView) attributes(field int) templ.Attributes {
	a := templ.Attributes{}
	if v.table.Fields[field].Required {
		a["aria-required"] = "true"
	}
	if d := v.describedBy(field); d != "" {
		a["aria-describedby"] = d
	}
	if v.wrong(field) != "" {
		a["aria-invalid"] = "true"
	}
	return a
}

// query is the address of the query page with a statement that shows the record.
func (v registeredView) query() string {
	sql := "SELECT * FROM " + v.table.Name + "_latest WHERE " + v.table.Key[0] + " = '" + v.id + "'"
	return "/query?" + url.Values{"sql": {sql}}.Encode()
}
