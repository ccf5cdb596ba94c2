package lake

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/expr"
)

// Config of the source.
type Config struct {
	URL    string             `yaml:"url" required:"true" doc:"The lake: file:///dir, a path, or s3://bucket/prefix."`
	AWS    awsconfig.Settings `yaml:"aws" doc:"Of an s3:// address: its region and endpoint."`
	Owner  string             `yaml:"owner" doc:"Of an s3:// address: the account that the bucket must belong to, twelve digits."`
	Tables []string           `yaml:"tables" doc:"Names of tables, or patterns such as order_*; default: all."`
	Where  string             `yaml:"where,scalar" doc:"A CEL expression such as row.year >= 1980, true for what to read; deletes are always read."`
	From   string             `yaml:"from" doc:"Only records of this time or later: 2026-11-24, or 2026-11-24T10:00:00Z."`
	To     string             `yaml:"to" doc:"Only records before this time."`
}

// Locate lets a relative path of the lake start at a folder.
func (c *Config) Locate(folder string) {
	if u, err := url.Parse(c.URL); err == nil && u.Scheme == "" && c.URL != "" && !filepath.IsAbs(c.URL) {
		c.URL = filepath.Join(folder, c.URL)
	}
}

// S3 gives what is said of a bucket of S3.
func (c *Config) S3() blob.S3Settings { return blob.S3Settings{AWS: c.AWS, Owner: c.Owner} }

// Root is the folder of the lake, or its address in S3.
func (c *Config) Root() (string, error) {
	if _, _, remote := blob.ParseURL(c.URL); remote {
		return strings.TrimRight(c.URL, "/"), nil
	}
	u, err := url.Parse(c.URL)
	switch {
	case err == nil && u.Scheme == "" && c.URL != "":
		return c.URL, nil
	case err == nil && u.Scheme == "file" && u.Host == "" && u.Path != "":
		return u.Path, nil
	}
	return "", fmt.Errorf("%q is no place of a lake: write a path, file:///dir, or s3://bucket/prefix", c.URL)
}

// span is the times that are read: microseconds since 1970, the first and the one after the last. The zero value of to
// stands for no end.
type span struct {
	from, to int64
	bounded  bool // there is a from
	ends     bool // there is a to
}

func (s span) holds(micros int64) bool {
	return (!s.bounded || micros >= s.from) && (!s.ends || micros < s.to)
}

// all says that no time is left out.
func (s span) all() bool { return !s.bounded && !s.ends }

// check says all that is wrong with the settings, as far as it can be told without the lake.
func (c *Config) check() (span, error) {
	var bad []error
	if _, err := c.Root(); err != nil {
		bad = append(bad, config.At(err, "url"))
	}
	if field, err := c.S3().Validate(); err != nil {
		bad = append(bad, config.At(err, field))
	}
	if _, _, remote := blob.ParseURL(c.URL); !remote && c.S3() != (blob.S3Settings{}) {
		bad = append(bad, config.Wrong("url", "aws and owner are of a lake at s3://"))
	}
	for i, pattern := range c.Tables {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			bad = append(bad, config.At(fmt.Errorf("%q is no name and no pattern of tables", pattern), "tables", strconv.Itoa(i)))
		}
	}
	if c.Where != "" {
		bad = append(bad, fieldErrors(expr.Parse(c.Where)))
	}
	var s span
	for _, bound := range []struct {
		name, text string
		at         *int64
		set        *bool
	}{{"from", c.From, &s.from, &s.bounded}, {"to", c.To, &s.to, &s.ends}} {
		if bound.text == "" {
			continue
		}
		t, err := ParseTime(bound.text)
		if err != nil {
			bad = append(bad, config.At(err, bound.name))
		}
		*bound.at, *bound.set = t.UnixMicro(), true
	}
	if s.bounded && s.ends && s.from >= s.to && len(bad) == 0 {
		bad = append(bad, config.Wrong("to", "%s is not after %s", c.To, c.From))
	}
	return s, errors.Join(bad...)
}

// ParseTime reads a date, which is its midnight in UTC, or a time with its zone.
func ParseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: want 2026-11-24 or 2026-11-24T10:00:00Z", text)
}

// fieldErrors gives the mistakes of an expression their place in the configuration.
func fieldErrors(err error) error {
	var all []error
	for _, e := range expr.Errors(err) {
		all = append(all, &config.FieldError{Path: []string{"where"}, Offset: e.Offset, Err: errors.New(e.Message), Remedy: e.Suggestion})
	}
	return errors.Join(all...)
}

// wanted says whether a table is to be read.
func (c *Config) wanted(table string) bool {
	for _, pattern := range c.Tables {
		if ok, err := path.Match(pattern, table); ok && err == nil {
			return true
		}
	}
	return len(c.Tables) == 0
}

// unknown gives the tables that are named and not there.
func (c *Config) unknown(have []string) error {
	var bad []error
	for i, pattern := range c.Tables {
		found := false
		for _, name := range have {
			ok, err := path.Match(pattern, name)
			found = found || ok && err == nil
		}
		if !found {
			err := &config.FieldError{Path: []string{"tables", strconv.Itoa(i)}, Err: fmt.Errorf("the lake has no table %q", pattern)}
			if len(have) > 0 {
				err.Remedy = "it has " + strings.Join(have, ", ")
			}
			bad = append(bad, err)
		}
	}
	return errors.Join(bad...)
}
