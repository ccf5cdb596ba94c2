package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// check says what is wrong with the settings for records of the schemas. It connects to nothing.
func check(settings any, in []*record.Schema) error {
	c, ok := settings.(*Config)
	if !ok {
		return errors.New("postgres: a *postgres.Config is needed")
	}
	var errs []error
	if err := postgres.Secure(string(c.DSN)); err != nil && c.DSN != "" {
		errs = append(errs, dsnError(err))
	}
	if c.Age < 0 {
		errs = append(errs, config.Wrong("every", "it must be positive"))
	}
	switch name := c.SchemaName(); {
	case len(name) > longestName:
		errs = append(errs, config.Wrong("schema", "PostgreSQL has names of at most %d bytes", longestName))
	case name == books || strings.HasPrefix(name, "pg_") || name == "information_schema":
		errs = append(errs, config.Wrong("schema", "%s is not for tables of yours: name another schema", name))
	}
	tables := map[string]string{}
	for _, s := range in {
		name := c.TableOf(s.Stream)
		if other, taken := tables[name]; taken && other != s.Stream {
			errs = append(errs, config.Wrong("table_name", "streams %s and %s would both be the table %s: name one of them here", other, s.Stream, name))
		}
		tables[name] = s.Stream
		if err := nameable(s, name); err != nil {
			errs = append(errs, config.At(fmt.Errorf("%s: %w", s.Stream, err)))
		}
	}
	return errors.Join(errs...)
}

// dsnError puts an error at the dsn.
func dsnError(err error) error {
	out := &config.FieldError{Path: []string{"dsn"}, Err: err}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		out.Err, out.Remedy = e.Err, e.Remedy
	}
	return out
}

// plan tells the tables.
func plan(settings any, in []*record.Schema) []string {
	c, ok := settings.(*Config)
	if !ok {
		return nil
	}
	var lines []string
	for _, s := range in {
		line := fmt.Sprintf("table %s.%s, ", c.SchemaName(), c.TableOf(s.Stream))
		if len(s.Key) == 0 {
			line += "no key: its records are appended, one an event; a snapshot takes the place of the one before"
		} else {
			line += fmt.Sprintf("one row a key (%s): the newest copy, without deletes", strings.Join(s.KeyNames(), ", "))
		}
		lines = append(lines, line)
		for i := range s.Fields {
			if f := &s.Fields[i]; postgres.InJSON(f) {
				lines = append(lines, fmt.Sprintf("  %s %s: a json document", f.Name, f.TypeName()))
			}
		}
	}
	return append(lines, fmt.Sprintf("what has gathered becomes visible after %s, and when a lane ends", c.Every()))
}
