package app

import (
	"strings"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/config"
)

// node is a part of a JSON Schema. See https://json-schema.org/draft/2020-12.
type node map[string]any

// JSONSchema is the JSON Schema of configuration files, for editors. It is made from the structs that decode them.
func JSONSchema(plugins catalog.Catalog) any {
	file, pipeline := config.DescribeFile()
	root := object(file)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "acequia configuration file"
	properties, _ := root["properties"].(node)
	var sourceTypes, sinkTypes, steps []any
	for _, p := range plugins.Sources {
		sourceTypes = append(sourceTypes, typed(p.Type, p.Doc, config.Describe(p.Config())))
	}
	for _, p := range plugins.Sinks {
		sinkTypes = append(sinkTypes, typed(p.Type, p.Doc, config.Describe(p.Config())))
	}
	for _, p := range plugins.Handlers {
		settings := value("mapping", config.Describe(p.Config()))
		settings["description"] = p.Doc
		steps = append(steps, node{
			"type": "object", "properties": node{p.Type: settings}, "required": []string{p.Type}, "additionalProperties": false,
		})
	}
	declared := object(pipeline)
	inner, _ := declared["properties"].(node)
	inner["from"] = node{"type": "string", "description": "The source."}
	inner["to"] = value("list of text", nil)
	inner["steps"] = node{"type": "array", "description": "What happens to the records, in order.", "items": node{"oneOf": steps}}
	tests := node{"type": "array", "description": "Records to put through pipelines, and what must come out.", "items": object(config.DescribeTest())}
	inner["tests"], properties["tests"] = tests, tests
	properties["sources"] = node{"type": "object", "additionalProperties": node{"oneOf": sourceTypes}}
	properties["sinks"] = node{"type": "object", "additionalProperties": node{"oneOf": sinkTypes}}
	properties["pipelines"] = node{"type": "object", "additionalProperties": declared}
	properties["version"] = node{"const": 1}
	root["patternProperties"] = node{"^x-": node{}}
	return root
}

// typed is the schema of a source or a sink.
func typed(name, doc string, keys []config.Key) node {
	out := object(keys)
	properties, _ := out["properties"].(node)
	properties["type"] = node{"const": name}
	out["description"] = doc
	required, _ := out["required"].([]string)
	out["required"] = append([]string{"type"}, required...)
	return out
}

// object is the schema of a mapping with these keys.
func object(keys []config.Key) node {
	properties, required := node{}, []string{}
	out := node{"type": "object", "properties": properties, "additionalProperties": false}
	for _, k := range keys {
		v := value(k.Type, k.Keys)
		if k.Doc != "" {
			v["description"] = k.Doc
		}
		if len(k.Enum) > 0 {
			delete(v, "type")
			v["enum"] = k.Enum
		}
		if k.Default != "" {
			v["default"] = k.Default
		}
		if k.Name == "*" {
			out["additionalProperties"] = v
			continue
		}
		properties[k.Name] = v
		if k.Required {
			required = append(required, k.Name)
		}
	}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// value is the schema of a value of a type as config names it.
func value(kind string, keys []config.Key) node {
	if rest, ok := strings.CutPrefix(kind, "list of "); ok {
		list := node{"type": "array", "items": value(rest, keys)}
		if rest == "text" { // one may stand for a list of one
			return node{"anyOf": []any{list, node{"type": "string"}}}
		}
		return list
	}
	if rest, ok := strings.CutPrefix(kind, "mapping of "); ok {
		return node{"type": "object", "additionalProperties": value(rest, keys)}
	}
	switch kind {
	case "mapping":
		out := object(keys)
		for _, k := range keys {
			if k.Short {
				return node{"anyOf": []any{out, value(k.Type, k.Keys)}}
			}
		}
		return out
	case "bool":
		return node{"type": []string{"boolean", "string"}} // a string may hold ${VARIABLE}
	case "integer", "number":
		return node{"type": []string{kind, "string"}}
	case "size", "share":
		return node{"type": []string{"number", "string"}}
	case "row":
		return node{"type": "object"}
	case "rows": // of every sink, or by sink
		rows := node{"type": "array", "items": node{"type": "object"}}
		return node{"anyOf": []any{rows, node{"type": "object", "additionalProperties": rows}}}
	case "any":
		return node{}
	}
	return node{"type": "string"}
}
