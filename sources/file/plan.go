package file

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
)

// plan says what the source would read and about how much, and which columns it would leave out. What cannot be read is Check's to tell.
func (s *Source) plan(ctx context.Context) []string {
	if s.config.Path == stdinPath {
		return []string{"reads the standard input, which cannot be read again after a stop"}
	}
	inputs, err := s.find(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	var bytes int64
	for _, in := range inputs {
		bytes += in.size
	}
	files, in := count(len(inputs), "file"), count(len(lanes), "lane")
	lines := []string{fmt.Sprintf("reads %s of %s%s in %s: %s", files, humanize.IBytes(uint64(bytes)), s.rowsText(inputs), in, ends(inputs))}
	if err := s.Check(ctx); err != nil {
		return append(lines, err.Error())
	}
	if len(s.config.Schema) == 0 {
		line := "infers the types from the first file; the first run keeps them"
		if kept, err := s.kept(); err == nil && kept != nil {
			line = "has the types that an earlier run inferred: remove " + filepath.Join(s.config.memory, schemaFile) + " to infer them again"
		}
		lines = append(lines, line)
	}
	if left := s.Ignored(); len(left) > 0 {
		lines = append(lines, "leaves out the columns "+list(left))
	}
	return lines
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ends names a few files.
func ends(inputs []*input) string {
	const most = 3
	var names []string
	for _, in := range inputs[:min(most, len(inputs))] {
		names = append(names, in.path)
	}
	if len(inputs) > most {
		names = append(names, "... "+inputs[len(inputs)-1].path)
	}
	return strings.Join(names, ", ")
}
