package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// The formats of files.
const (
	formatCSV     = "csv"
	formatNDJSON  = "ndjson"
	formatParquet = "parquet"
)

// The compressions of files.
const (
	compressionNone = "none"
	compressionGzip = "gzip"
	compressionZstd = "zstd"
)

// stdinPath is the path that stands for the standard input.
const stdinPath = "-"

const defaultSample = 10_000

// Config of the source.
type Config struct {
	Path        string                 `yaml:"path" required:"true" doc:"The files: a path, a pattern such as data/*.csv, or - (stdin)."`
	Format      string                 `yaml:"format" enum:"csv,ndjson,parquet" doc:"What the files hold; default: by their extension."`
	Compression string                 `yaml:"compression" enum:"none,gzip,zstd" doc:"How they are compressed; default: by how they begin."`
	Stream      string                 `yaml:"stream" doc:"Name of the stream; default: the files' name in the lake's letters."`
	Key         []string               `yaml:"key" doc:"Columns that identify a record, and so must have values."`
	Schema      config.Ordered[string] `yaml:"schema" doc:"Columns and their types; default: all, with types that fit a sample."`
	Delimiter   string                 `yaml:"delimiter" doc:"What separates the fields in CSV; default: a comma, in .tsv files a tab."`
	NoHeader    bool                   `yaml:"no_header" doc:"CSV without a header: the schema names the columns, else column_1 and so on."`
	Sample      int                    `yaml:"sample" doc:"Rows of the first file that types are inferred from; default 10,000."`

	memory string // the folder of Remember; "": nothing is kept
}

// Locate lets a relative path start at a folder.
func (c *Config) Locate(folder string) {
	if c.Path != "" && c.Path != stdinPath && !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(folder, c.Path)
	}
}

// check says all that is wrong with the settings.
func (c *Config) check() error {
	var bad []error
	wrong := func(path, format string, args ...any) { bad = append(bad, config.Wrong(path, format, args...)) }
	switch {
	case c.Path == "":
		wrong("path", "which files?")
	case strings.Contains(c.Path, "**"):
		wrong("path", "** is not known: * stands for names in one folder, as in data/*/*.csv")
	case c.Path != stdinPath:
		if _, err := filepath.Match(c.Path, ""); err != nil {
			wrong("path", "%q is no pattern: a bracket is not closed", c.Path)
		}
	case c.Format == "":
		wrong("format", "is needed for the standard input")
	}
	if !slices.Contains([]string{"", formatCSV, formatNDJSON, formatParquet}, c.Format) {
		wrong("format", "%q is not known: want csv, ndjson or parquet", c.Format)
	}
	if !slices.Contains([]string{"", compressionNone, compressionGzip, compressionZstd}, c.Compression) {
		wrong("compression", "%q is not known: want none, gzip or zstd", c.Compression)
	}
	if c.Format == formatParquet && (c.Path == stdinPath || c.Compression == compressionGzip || c.Compression == compressionZstd) {
		wrong("format", "a Parquet file is read from its end: it can neither be compressed as a whole nor be the standard input")
	}
	if _, err := c.delimiter(""); err != nil {
		wrong("delimiter", "%w", err)
	}
	if c.Sample < 0 {
		wrong("sample", "must not be negative")
	}
	if _, err := c.declared(); err != nil {
		bad = append(bad, err)
	}
	return errors.Join(bad...)
}

// declared gives the schema that the settings declare; nil when they leave it to the files. Beside an error it is what
// the columns tell, where one of no type is text.
func (c *Config) declared() (*record.Schema, error) {
	if len(c.Schema) == 0 {
		return nil, nil //nolint:nilnil // that is the question
	}
	var bad []error
	var fields []record.Field
	names := map[string]string{}
	for _, e := range c.Schema {
		f, err := record.ParseType(e.Name, e.Value)
		if err != nil {
			bad = append(bad, config.At(err, "schema", e.Name))
			f = record.Field{Name: e.Name, Kind: record.String, Nullable: true}
		}
		folded := schemas.ColumnName(e.Name)
		if other, ok := names[folded]; ok {
			bad = append(bad, config.At(fmt.Errorf("%s and %s are both called %s", other, e.Name, folded), "schema", e.Name))
		}
		names[folded] = e.Name
		fields = append(fields, f)
	}
	s, err := c.schemaOf(fields)
	if err != nil {
		keyless := *c
		keyless.Key = nil
		s, _ = keyless.schemaOf(fields) // what else is wrong was said
	}
	return s, errors.Join(append(bad, err)...)
}

// schemaOf gives the schema of the stream; the columns of the key get no nulls.
func (c *Config) schemaOf(fields []record.Field) (*record.Schema, error) {
	var key, names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	for i, k := range c.Key {
		folded := schemas.ColumnName(k)
		at := slices.IndexFunc(fields, func(f record.Field) bool { return schemas.ColumnName(f.Name) == folded })
		if at < 0 {
			remedy := "the columns are " + list(names)
			if near := nearest(k, names); near != "" {
				remedy = "did you mean " + near + "?"
			}
			return nil, &config.FieldError{Path: []string{"key", strconv.Itoa(i)}, Err: fmt.Errorf("there is no column %q", k), Remedy: remedy}
		}
		if slices.Contains(key, fields[at].Name) {
			return nil, &config.FieldError{Path: []string{"key", strconv.Itoa(i)}, Err: fmt.Errorf("%s stands twice", k)}
		}
		fields[at].Nullable = false
		key = append(key, fields[at].Name)
	}
	return record.NewSchema(c.stream(), key, fields...)
}

// stream is the name of the stream.
func (c *Config) stream() string {
	if c.Stream != "" {
		return c.Stream
	}
	if c.Path == stdinPath {
		return "stdin"
	}
	for _, part := range []string{stem(filepath.Base(c.Path)), filepath.Base(filepath.Dir(c.Path))} {
		part = strings.Trim(strings.NewReplacer("*", "", "?", "", "[", "", "]", "").Replace(part), "-_. /\\")
		if part != "" {
			return schemas.LakeName(part)
		}
	}
	return "files"
}

// stem is a file's name without the extensions that tell format and compression.
func stem(name string) string {
	for {
		ext := filepath.Ext(name)
		switch strings.ToLower(ext) {
		case ".gz", ".gzip", ".zst", ".zstd", ".csv", ".tsv", ".ndjson", ".jsonl", ".json", ".parquet", ".txt":
			name = strings.TrimSuffix(name, ext)
		default:
			return name
		}
	}
}

// extension is what tells the format of a file.
func extension(path string) string {
	for {
		ext := strings.ToLower(filepath.Ext(path))
		switch ext {
		case ".gz", ".gzip", ".zst", ".zstd":
			path = path[:len(path)-len(ext)]
		default:
			return ext
		}
	}
}

// format is that of a file; "" when nothing tells.
func (c *Config) format(path string) string {
	if c.Format != "" {
		return c.Format
	}
	for _, p := range []string{c.Path, path} {
		switch extension(p) {
		case ".csv", ".tsv":
			return formatCSV
		case ".ndjson", ".jsonl", ".json":
			return formatNDJSON
		case ".parquet":
			return formatParquet
		}
	}
	return ""
}

// delimiter is that of a CSV file.
func (c *Config) delimiter(path string) (byte, error) {
	switch {
	case c.Delimiter == "" && extension(path) == ".tsv", c.Delimiter == `\t`:
		return '\t', nil
	case c.Delimiter == "":
		return ',', nil
	case len(c.Delimiter) != 1 || strings.ContainsAny(c.Delimiter, "\"\r\n\x00") || c.Delimiter[0] >= 0x80:
		return 0, fmt.Errorf("%q cannot separate fields: want one ASCII character, or \\t", c.Delimiter)
	}
	return c.Delimiter[0], nil
}
