package query

import (
	"strings"
	"testing"
)

// FuzzParseSaved wants that the head of a saved query is read whole or refused.
func FuzzParseSaved(f *testing.F) {
	f.Add("-- title.es: a\n-- title.en: b\n-- about.es: c\n-- about.en: d\n-- plot: bar x y\nselect 1")
	f.Add("-- plot: bar\nselect 1")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseSaved("q", text)
		if err != nil {
			return
		}
		if q.SQL == "" || strings.TrimSpace(q.SQL) != q.SQL || !strings.Contains(text, q.SQL) || q.Title.EN == "" || q.Title.ES == "" {
			t.Fatalf("%q became %+v", text, q)
		}
	})
}
