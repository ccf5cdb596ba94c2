package app

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/config"
)

// Reference is the reference page of configuration files, in Markdown, made from the structs that decode them.
func Reference(plugins catalog.Catalog) string {
	var b strings.Builder
	b.WriteString("<!-- Made by `acequia schema --markdown`. DO NOT EDIT. -->\n\n# Configuration\n\n" +
		"`acequia check FILE` finds every mistake in a file, `acequia schema` prints its JSON Schema for editors. In any value `${VAR}`,\n" +
		"`${VAR:-default}` and `${VAR:?message}` stand for variables, `${env:VAR}` and `${file:/path}` for secrets, `$$` for a dollar sign.\n")
	file, pipeline := config.DescribeFile()
	section(&b, "##", "The file", "", file)
	section(&b, "##", "A pipeline", "", pipeline)
	section(&b, "##", "A test", "`acequia test FILE` runs the tests of a file, each through the steps of its pipeline. Masks have a fixed key in them.", config.DescribeTest())
	b.WriteString("\n## Sources\n")
	for _, p := range plugins.Sources {
		section(&b, "###", p.Type, p.Doc, config.Describe(p.Config()))
	}
	b.WriteString("\n## Steps\n")
	for _, p := range plugins.Handlers {
		section(&b, "###", p.Type, p.Doc, config.Describe(p.Config()))
	}
	b.WriteString("\n## Sinks\n")
	for _, p := range plugins.Sinks {
		section(&b, "###", p.Type, p.Doc, config.Describe(p.Config()))
	}
	return b.String()
}

func section(b *strings.Builder, level, title, doc string, keys []config.Key) {
	fmt.Fprintf(b, "\n%s %s\n", level, title)
	if doc != "" {
		fmt.Fprintf(b, "\n%s\n", doc)
	}
	if len(keys) == 0 {
		return
	}
	b.WriteString("\n| key | type | meaning |\n|---|---|---|\n")
	rows(b, "", keys)
}

func rows(b *strings.Builder, prefix string, keys []config.Key) {
	for _, k := range keys {
		name := prefix + cmp.Or(strings.ReplaceAll(k.Name, "*", "NAME"), "NAME")
		doc := k.Doc
		if len(k.Enum) > 0 {
			doc += " One of `" + strings.Join(k.Enum, "`, `") + "`."
		}
		if k.Default != "" {
			doc += " Default `" + k.Default + "`."
		}
		if k.Required {
			doc += " Required."
		}
		if k.Short {
			doc += " May stand alone in place of the mapping."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, k.Type, strings.TrimSpace(strings.ReplaceAll(doc, "|", `\|`)))
		rows(b, name+".", k.Keys)
	}
}
