package form

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/videogames"
)

// Config of the source.
type Config struct {
	// Schema is "videogames", or the path of a table's declaration.
	Schema string `yaml:"schema" required:"true" doc:"videogames, or the path of a table's declaration."`
	// Table is the declared table, for who builds in Go; Schema is then not read.
	Table *schemas.Table `yaml:"-"`
	// Rate is how many records one client address may send a minute; default 120, -1: no limit. Loopback has none.
	Rate int `yaml:"rate" doc:"Records that one client address may send a minute; default 120, -1: no limit. Loopback has none."`
	// TrustedProxies are addresses or networks (192.0.2.0/24) whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies" doc:"Addresses or networks whose X-Forwarded-For is believed."`
	// TrustedOrigins may post from another site: https://example.com.
	TrustedOrigins []string `yaml:"trusted_origins" doc:"Sites that may post from elsewhere, such as https://example.com."`
	// Query is the path of the query page, for the link of the success page; default /query.
	Query string `yaml:"query" doc:"Path of the query page; default /query."`
	// Patience is how long a request waits for its record to be durable before it gets 503; default 10 s. A fifth of it
	// is how long it waits for a reader.
	Patience time.Duration `yaml:"patience" doc:"How long a request waits for its record to be durable before it gets 503; default 10s."`
}

// builtIn is the declaration that comes with the program.
const builtIn = "videogames"

// Locate lets a relative path of the declaration start at a folder.
func (c *Config) Locate(folder string) {
	if c.Schema != "" && c.Schema != builtIn && !filepath.IsAbs(c.Schema) {
		c.Schema = filepath.Join(folder, c.Schema)
	}
}

// Files are the files that the settings name.
func (c *Config) Files() []string {
	if c.Schema == "" || c.Schema == builtIn {
		return nil
	}
	return []string{c.Schema}
}

// parts is what the settings say, read.
type parts struct {
	table   *schemas.Table
	proxies []netip.Prefix
	origins *http.CrossOriginProtection
}

func fromConfig(settings any) (parts, error) {
	c, ok := settings.(*Config)
	if !ok {
		return parts{}, fault.Stop(errors.New("form: want a *form.Config"))
	}
	return c.check()
}

// check reads the settings. What is wrong with them comes as config.FieldErrors, all of it.
func (c *Config) check() (parts, error) {
	p := parts{origins: http.NewCrossOriginProtection()}
	var errs []error
	var err error
	if p.table, err = c.load(); err != nil {
		errs = append(errs, err)
	} else if key := p.table.Schema().Key; len(key) != 1 || p.table.Fields[key[0]].Type != schemas.UUID {
		errs = append(errs, config.Wrong("schema", "the key of %s must be one generated uuid", p.table.Name))
	}
	for i, text := range c.TrustedProxies {
		prefix, err := parsePrefix(text)
		errs = append(errs, config.At(err, "trusted_proxies", strconv.Itoa(i)))
		p.proxies = append(p.proxies, prefix)
	}
	for i, text := range c.TrustedOrigins {
		errs = append(errs, config.At(p.origins.AddTrustedOrigin(text), "trusted_origins", strconv.Itoa(i)))
	}
	if c.Rate < -1 {
		errs = append(errs, config.Wrong("rate", "want a number of records, or -1 for no limit"))
	}
	return p, errors.Join(errs...)
}

// load reads the declaration. Its own mistakes name their place in it.
func (c *Config) load() (*schemas.Table, error) {
	switch {
	case c.Table != nil:
		return c.Table, nil
	case c.Schema == builtIn:
		return videogames.Table()
	case c.Schema == "":
		return nil, config.Wrong("schema", "it is missing")
	}
	text, err := os.ReadFile(c.Schema)
	if err != nil {
		return nil, &config.FieldError{Path: []string{"schema"}, Err: err, Remedy: "write videogames, or the path of a table's declaration"}
	}
	table, err := schemas.Load(c.Schema, text)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return nil, &fault.Error{Class: e.Class, Code: e.Code, Err: config.At(e.Err, "schema"), Remedy: e.Remedy}
	}
	return table, err
}

// parsePrefix reads a network, or an address as the network of itself.
func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}

// keysSchema is the schema of the answers given under an Idempotency-Key.
func keysSchema() (*record.Schema, error) {
	s, err := record.NewSchema(KeysTable, []string{"key"}, record.Field{Name: "key", Kind: record.String},
		record.Field{Name: "hash", Kind: record.String}, record.Field{Name: "id", Kind: record.String})
	if err != nil {
		return nil, fmt.Errorf("make schema of keys: %w", err)
	}
	return s, nil
}
