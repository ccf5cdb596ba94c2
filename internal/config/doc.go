// Package config reads configuration files: it finds every mistake at once, each with its line and column, and fills the
// configuration structs of plugins from YAML.
package config
