// Package config reads configuration files: it finds every mistake at once, each with its line and column, and fills the
// configuration structs of plugins from YAML.
//
// Load and Parse read the frame: sources, sinks, pipelines. A Block is then decoded into its plugin's struct, and an error of
// the plugin is put at its place. Render prints what was found.
//
// # Tags
//
//   - yaml:"name" is the key. Without it the field's name in lower case is, and - takes the field out.
//   - yaml:"name,scalar" also takes a bare value, or for a slice a bare list, that stands in place of the whole mapping.
//   - yaml:",inline" on an Ordered takes all keys that no other field takes.
//   - required:"true" wants the key; of text it also wants that it is not empty.
//   - enum:"a,b" lists what text may be. doc:"..." says what the key is for.
//
// Fields may be text, bool, whole numbers, floats, time.Duration, Size, Share, Secret, an encoding.TextUnmarshaler, and
// pointers, slices, structs, maps from text and Ordered of them. What the file does not have keeps its default.
//
// # References
//
// They are expanded in scalars, after the YAML was parsed: a value cannot add keys. ${NAME}, ${NAME:-default} and
// ${NAME:?message} stand for variables, $$ for a dollar. ${env:NAME} and ${file:/path} are whole values, and secret: no
// message holds them. Keys are not expanded, nor is anything in tests.
//
// # Anchors
//
// Anchors, aliases and merge keys work; keys of the file that begin with x- are there to hold anchors. Tags are refused, but
// for !!str.
//
// # Codes
//
//	ACQ-CFG-001  the YAML cannot be read
//	ACQ-CFG-002  an unknown key
//	ACQ-CFG-003  a value of a wrong kind, or one that is not allowed
//	ACQ-CFG-004  something is missing
//	ACQ-CFG-005  something stands twice
//	ACQ-CFG-006  a variable or a file that a reference names has no value
//	ACQ-CFG-007  a source, sink or anchor that is not there
//	ACQ-CFG-008  an unknown type of source, sink or step
//	ACQ-CFG-009  a mistake that a plugin found
//	ACQ-CFG-010  a secret in clear text (a warning)
//	ACQ-CFG-011  a source or sink that no pipeline uses (a warning)
//	ACQ-CFG-012  a folder without configuration files
//	ACQ-ENV-006  a file that cannot be read
package config
