// Package canonical gives each value of a text column its one agreed spelling.
package canonical

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// What to do with a value that is neither an option nor an alias.
const (
	Keep       = "keep"        // leave it as it is
	DeadLetter = "dead_letter" // refuse the record
	Default    = "default"     // write Config.Default
)

// Config is what the user sets.
type Config struct {
	// Column is the string column. Required.
	Column string `yaml:"column" required:"true" doc:"The string column."`
	// Options are the canonical values, as they will be written. Letter case, white space and hyphens do not count when a
	// value is compared with them. Required.
	Options []string `yaml:"options" required:"true" doc:"The canonical values; letter case, white space and hyphens do not count when a value is compared with them."`
	// Aliases are other spellings, each with the option that it stands for. Default: none.
	Aliases map[string]string `yaml:"aliases" doc:"Other spellings, each with the option that it stands for."`
	// Unknown says what becomes of other values: keep, dead_letter or default. A delete is never refused for its value.
	// Default: dead_letter.
	Unknown string `yaml:"unknown" enum:"keep,dead_letter,default" doc:"What becomes of other values."`
	// Default is the option that unknown values become with unknown: default. Default: none.
	Default string `yaml:"default" doc:"The option that unknown values become with unknown: default."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "canonical",
		Doc:    "Gives each value of a column its one agreed spelling.",
		Config: func() any { return &Config{Unknown: DeadLetter} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("canonical: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler writes canonical values.
type Handler struct {
	column  string
	options []string
	exact   map[string]int32 // spellings as configured, so that most values need no folding
	folded  map[string]int32
	unknown string
	other   int32 // the option that unknown values become
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	h := &Handler{
		column: c.Column, options: c.Options, unknown: c.Unknown, other: int32(slices.Index(c.Options, c.Default)), //nolint:gosec // few
		exact: map[string]int32{}, folded: map[string]int32{},
	}
	var errs []error
	if c.Column == "" {
		errs = append(errs, errors.New("column: must be set"))
	}
	if len(c.Options) == 0 {
		errs = append(errs, errors.New("options: must name one value or more"))
	}
	for i, option := range c.Options {
		errs = append(errs, h.spell(fmt.Sprintf("options[%d]", i), option, int32(i)))
	}
	for _, alias := range slices.Sorted(maps.Keys(c.Aliases)) {
		option := c.Aliases[alias]
		i := slices.Index(c.Options, option)
		if i < 0 {
			errs = append(errs, fmt.Errorf("aliases.%s: %q is not one of the options", alias, option))
			continue
		}
		errs = append(errs, h.spell("aliases."+alias, alias, int32(i))) //nolint:gosec // few
	}
	switch c.Unknown {
	case Keep, DeadLetter:
		if c.Default != "" {
			errs = append(errs, errors.New("default: goes with unknown: default only"))
		}
	case Default:
		if h.other < 0 {
			errs = append(errs, fmt.Errorf("default: %q is not one of the options", c.Default))
		}
	default:
		errs = append(errs, fmt.Errorf("unknown: %q is not keep, dead_letter or default", c.Unknown))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// spell adds a spelling of an option.
func (h *Handler) spell(setting, text string, option int32) error {
	key := string(appendFolded(nil, []byte(text)))
	if key == "" {
		return fmt.Errorf("%s: %q has no letter or digit", setting, text)
	}
	switch other, taken := h.folded[key]; {
	case taken && other != option:
		return fmt.Errorf("%s: %q also spells %q", setting, text, h.options[other])
	case taken && text == h.options[option]:
		return fmt.Errorf("%s: %q stands twice", setting, text)
	}
	h.folded[key], h.exact[text] = option, option
	return nil
}

// Shape gives the schema back: only values change. A column that is missing or not text is an error.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	_, err := h.target(in)
	return in, err
}

func (h *Handler) target(s *record.Schema) (int, error) {
	i := s.Index(h.column)
	if i >= 0 && s.Fields[i].Kind == record.String {
		return i, nil
	}
	why := "is not in the schema"
	if i >= 0 {
		why = "is " + s.Fields[i].Kind.String() + ", not text"
	}
	return 0, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-CANONICAL-001", Place: s.Stream,
		Err:    fmt.Errorf("canonical: column %q %s", h.column, why),
		Remedy: "name a string column under column",
	}
}

// Handle gives b with canonical values, or b itself where all were. Null and absent values stay.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i, err := h.target(b.Schema)
	if err != nil {
		return nil, err
	}
	c, changed, err := h.rewrite(b, &b.Columns[i])
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return []*record.Batch{b.Retain()}, nil
	}
	columns := slices.Clone(b.Columns)
	columns[i] = c
	return []*record.Batch{b.With(b.Schema, columns)}, nil
}
