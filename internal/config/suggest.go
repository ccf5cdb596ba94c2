package config

import (
	"strings"
)

// Suggest gives the remedy for a name that is none of the known, for who checks names that config does not know.
func Suggest(name string, known []string) string { return suggest(name, known) }

// Nearest gives the known name that is meant, or "".
func Nearest(name string, known []string) string { return nearest(name, known) }

// suggest gives the remedy for a name that is none of the known: the nearest one, or else all of them.
func suggest(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	switch n := len(known); {
	case n == 0:
		return ""
	case n == 1:
		return "known is " + known[0]
	case n > 20:
		return ""
	}
	return "known are " + strings.Join(known, ", ")
}

// nearest gives the known name that differs from this one in at most a third of its letters, or "".
func nearest(name string, known []string) string {
	best, distance := "", max(1, len([]rune(name))/3)+1
	for _, k := range known {
		if d := edits(letters(name), letters(k)); d < distance && d < len([]rune(k)) {
			best, distance = k, d
		}
	}
	return best
}

// letters leaves out how words are joined.
func letters(name string) []rune { return []rune(strings.ReplaceAll(strings.ToLower(name), "-", "_")) }

// edits counts the letters to add, remove, replace or swap with their neighbour.
func edits(a, b []rune) int {
	if n := len(a) - len(b); n > 30 || n < -30 || len(a) > 200 {
		return 1000
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i, x := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j, y := range b {
			replace := last[j]
			if x != y {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x == b[j-1] && a[i-1] == y {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
