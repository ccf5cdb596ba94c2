package query

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

//go:embed saved/*.sql
var savedFiles embed.FS

// savedOrder is the order in which saved queries are shown.
//
//nolint:gochecknoglobals // a constant table
var savedOrder = []string{
	"games-by-genre", "games-by-year", "games-by-developer", "competitive-share", "newest-games", "games-count",
}

// SavedTable is the table that the saved queries ask.
const SavedTable = "videogames"

// Localized is a text in the languages of the program.
type Localized struct {
	ES string `json:"es"`
	EN string `json:"en"`
}

// In gives the text in a language: "es", or English for any other.
func (l Localized) In(lang string) string {
	if lang == "es" {
		return l.ES
	}
	return l.EN
}

// Plot says how a result is best drawn. The zero value: only as a table.
type Plot struct {
	Kind string `json:"kind"` // "bar", "line" or ""
	X    string `json:"x"`    // column of the labels
	Y    string `json:"y"`    // column of the numbers
}

// Saved is a query that comes with the program.
type Saved struct {
	Name  string    `json:"name"`
	Title Localized `json:"title"`
	About Localized `json:"about"`
	Plot  Plot      `json:"plot"`
	SQL   string    `json:"sql"`
}

// SavedQueries gives the queries that come with the program, in the order in which to show them.
func SavedQueries() ([]Saved, error) {
	out := make([]Saved, 0, len(savedOrder))
	for _, name := range savedOrder {
		text, err := savedFiles.ReadFile(path.Join("saved", name+".sql"))
		if err != nil {
			return nil, fmt.Errorf("read saved query %s: %w", name, err)
		}
		q, err := parseSaved(name, string(text))
		if err != nil {
			return nil, fmt.Errorf("read saved query %s: %w", name, err)
		}
		out = append(out, q)
	}
	return out, nil
}

// FindSaved gives the saved query of a name.
func FindSaved(name string) (Saved, error) {
	all, err := SavedQueries()
	if err != nil {
		return Saved{}, err
	}
	for _, q := range all {
		if q.Name == name {
			return q, nil
		}
	}
	return Saved{}, &fault.Error{
		Code: "ACQ-QUERY-007", Err: fmt.Errorf("there is no saved query %q", name),
		Remedy: "use one of " + strings.Join(savedOrder, ", "),
	}
}

// parseSaved reads the comment lines `-- key: value` at the head of a saved query; the rest is the statement.
func parseSaved(name, text string) (Saved, error) {
	q := Saved{Name: name}
	fields := map[string]*string{
		"title.es": &q.Title.ES, "title.en": &q.Title.EN, "about.es": &q.About.ES, "about.en": &q.About.EN,
	}
	for {
		line, rest, _ := strings.Cut(text, "\n")
		note, ok := strings.CutPrefix(line, "-- ")
		if !ok {
			break
		}
		text = rest
		key, value, _ := strings.Cut(note, ": ")
		if key == "plot" {
			if n, err := fmt.Sscan(value, &q.Plot.Kind, &q.Plot.X, &q.Plot.Y); err != nil {
				return Saved{}, fmt.Errorf("plot needs kind, x and y, has %d: %w", n, err)
			}
			continue
		}
		field, known := fields[key]
		if !known {
			return Saved{}, fmt.Errorf("unknown key %q", key)
		}
		*field = value
	}
	for key, field := range fields {
		if *field == "" {
			return Saved{}, fmt.Errorf("%s is missing", key)
		}
	}
	if q.SQL = strings.TrimSpace(text); q.SQL == "" {
		return Saved{}, errors.New("the statement is missing")
	}
	return q, nil
}
