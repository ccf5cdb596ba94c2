package file

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// estimateBytes is how much of a file is looked at to guess its rows.
const estimateBytes = 1 << 20

// estimate guesses the rows of the inputs: of Parquet files their footers tell, of texts the lines in the beginning of the
// largest one. exact says that nothing was guessed; without ok
// nothing could be told.
func (s *Source) estimate(inputs []*input) (rows int64, exact, ok bool) {
	var total int64
	var largest *input
	for _, in := range inputs {
		if in.format == formatParquet {
			l, err := s.layout(in)
			if err != nil {
				return 0, false, false
			}
			rows += l.rows
			continue
		}
		total += in.size
		if largest == nil || in.size > largest.size {
			largest = in
		}
	}
	if largest == nil || total == 0 {
		return rows, true, true
	}
	lines, read, err := s.linesOf(largest)
	if err != nil || read == 0 {
		return 0, false, false
	}
	return rows + int64(float64(lines)/float64(read)*float64(total)+0.5), false, true
}

// linesOf counts the records in the beginning of a text, and the bytes of the file that they take.
func (s *Source) linesOf(in *input) (lines int, read int64, err error) {
	f, err := os.Open(in.path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	counted := &counter{r: f}
	t, err := unpack(counted, in)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	head, err := io.ReadAll(io.LimitReader(t, estimateBytes))
	if err != nil {
		return 0, 0, err
	}
	lines = bytes.Count(head, []byte("\n"))
	if counted.n == in.size && len(head) > 0 && len(head) < estimateBytes && head[len(head)-1] != '\n' {
		lines++
	}
	if in.format == formatCSV && !s.config.NoHeader {
		lines = max(0, lines-1)
	}
	if in.plain() {
		return lines, int64(len(head)), nil
	}
	return lines, counted.n, nil // what the decoder has read ahead is a small part
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

// Read reads.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// rowsText says how many rows the inputs have; "" when nothing tells.
func (s *Source) rowsText(inputs []*input) string {
	rows, exact, ok := s.estimate(inputs)
	switch {
	case !ok:
		return ""
	case exact:
		return ", " + count(int(rows), "row")
	}
	return ", about " + count(int(rows), "row")
}
