package athena

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/acequia-io/acequia/schemas"
)

// A view of Athena is a table of Glue whose text holds its definition: JSON, in base64, in a comment. So Trino writes them
// (io.trino.plugin.hive.ViewReaderUtil), and Athena after it. It is made through Glue, and not by CREATE VIEW, because Athena writes the
// statement anew and nobody could tell any more whether a view is as it should be; and because who writes a lake then needs no right to ask it.
const (
	virtualView = "VIRTUAL_VIEW"
	viewPrefix  = "/* Presto View: "
	viewSuffix  = " */"
	viewMark    = "/* Presto View */"
)

type viewColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type viewDefinition struct {
	SQL     string       `json:"originalSql"`
	Catalog string       `json:"catalog"`
	Schema  string       `json:"schema"`
	Columns []viewColumn `json:"columns"`
}

// encodeView gives the text of a view.
func encodeView(v schemas.AthenaView, database string) string {
	d := viewDefinition{SQL: v.SQL, Catalog: "awsdatacatalog", Schema: database, Columns: make([]viewColumn, len(v.Columns))}
	for i, c := range v.Columns {
		d.Columns[i] = viewColumn{c.Name, v.Trino[i]}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(d) // of texts: it can always be written
	return viewPrefix + base64.StdEncoding.EncodeToString(bytes.TrimSpace(text.Bytes())) + viewSuffix
}

// decodeView reads the text of a view; false: it is none that Athena understands.
func decodeView(text string) (d viewDefinition, ok bool) {
	inner, begins := strings.CutPrefix(text, viewPrefix)
	inner, ends := strings.CutSuffix(inner, viewSuffix)
	raw, err := base64.StdEncoding.DecodeString(inner)
	return d, begins && ends && err == nil && json.Unmarshal(raw, &d) == nil
}

// view plans a view.
func (c *Client) view(v schemas.AthenaView, version int, found *types.Table) Change {
	input := &types.TableInput{Parameters: map[string]string{}}
	if found != nil {
		input = kept(found)
	}
	input.Name, input.TableType = aws.String(v.Name), aws.String(virtualView)
	input.ViewOriginalText, input.ViewExpandedText = aws.String(encodeView(v, c.place.Database)), aws.String(viewMark)
	input.Parameters["presto_view"], input.Parameters["comment"], input.Parameters[versionKey] = "true", "Presto View", strconv.Itoa(version)
	none := aws.String("-") // Glue wants a SerDe of everything
	input.StorageDescriptor = &types.StorageDescriptor{
		Columns: glueColumns(v.Columns, nil), SerdeInfo: &types.SerDeInfo{Name: none, SerializationLibrary: none},
	}
	look := func(made *types.Table) Change { return c.view(v, version, made) }
	switch {
	case found == nil:
		return Change{Kind: "view", Name: v.Name, Action: Create, do: c.create(input, look)}
	case aws.ToString(found.TableType) != virtualView || found.StorageDescriptor == nil:
		return refuse("view", v.Name, "there is a "+strings.ToLower(orNothing(aws.ToString(found.TableType)))+" of this name, and no view")
	case ahead(found, version, v.Columns):
		return Change{Kind: "view", Name: v.Name, Action: Same, Details: []string{"Glue has a newer version of it"}}
	}
	var d differences
	is, known := decodeView(aws.ToString(found.ViewOriginalText))
	shall, _ := decodeView(*input.ViewOriginalText)
	switch {
	case !known:
		d = append(d, "its definition cannot be read")
	case is.SQL != shall.SQL:
		d = append(d, "its query")
	}
	d.columns(found.StorageDescriptor.Columns, input.StorageDescriptor.Columns)
	if len(d) == 0 && *input.ViewOriginalText != aws.ToString(found.ViewOriginalText) {
		d = append(d, "its definition")
	}
	d.properties(found.Parameters, input.Parameters)
	return d.change("view", v.Name, c.update(found, input, look))
}
