package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// english are words that no Spanish text has.
var english = regexp.MustCompile(`\b(the|is|are|want|found|known|unknown|there|has|write|give|must|of|did|mean|stands|set|add|close)\b`)

// TestSpanishIsWhole reads all broken files: a message or a remedy of this package that has no phrase is found.
func TestSpanishIsWhole(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		problems := checked(Parse(filepath.Base(path), text, env))
		for i, p := range problems.In("es") {
			before := problems[i]
			if p.Code == CodePlugin || p.Code == "ACQ-LAKE-007" || strings.HasPrefix(before.Remedy, "set it to the place") || before.Remedy == "set it where acequia starts" {
				continue // a plugin's, or the user's own words
			}
			if p.Message == before.Message || p.Remedy != "" && p.Remedy == before.Remedy || english.MatchString(p.Message) || english.MatchString(p.Remedy) {
				t.Errorf("%s: %q (%s)\n  was %q (%s)", path, p.Message, p.Remedy, before.Message, before.Remedy)
			}
		}
	}
}

func TestSpanish(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{`unknown key "evry" in sink text`, `clave desconocida "evry" en el destino text`},
		{`port: want a whole number, found what ${HOME_DIR} stands for`, `port: se espera un número entero, y hay lo que vale ${HOME_DIR}`},
		{"decade.expr: there is no column yeer (did you mean year?)", "decade.expr: no existe la columna yeer (¿quizá year?)"},
		{`partition.1: games has no column "{2}"`, `partition.1: games no tiene la columna "{2}"`},
		{"window: must be positive, such as 24h", "window: tiene que ser positivo, como 24h"},
		{"write a comparison", "escribe una comparación"},
		{"write file:///dir", "escribe file:///dir"},
		{"row.year is int32, and ! wants a bool", "row.year es int32, y ! pide un bool"},
		{"want a whole number, found a list", "se espera un número entero, y hay una lista"},
		{"want cast(value)", "se espera cast(value)"},
		{"/lake will be made, 1.5 GiB free", "/lake se creará, 1.5 GiB libres"},
		{"is of an older version, and will be upgraded; 20 MiB free", "es de una versión anterior, y se pondrá al día; 20 MiB libres"},
		{"stat x: no such file or directory", "no existe el fichero x"},
		{"state: mkdir /x: permission denied", "state: mkdir /x: no hay permiso"},
		{`tables.films.indexes.0.columns.0: column "genres" is a list`, `tables.films.indexes.0.columns.0: la columna "genres" es una lista`},
		{"words that no phrase has", "words that no phrase has"},
	} {
		p := Problems{{Message: c[0]}}
		if got := p.In("es")[0].Message; got != c[1] || p.In("en")[0].Message != c[0] || p[0].Message != c[0] {
			t.Errorf("%s: %s", c[0], got)
		}
	}
}
