package file

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// place is where a lane stands. Of a text: bytes of its text, the line that follows, and a checksum of the bytes before.
// Of a Parquet file: rows of the whole file, its row groups and its size.
type place struct {
	kind string // "t" or "p"; "" at the start of the lane
	at   int64
	line int64
	mark int64
}

func (p place) position() record.Position {
	return record.Position(fmt.Sprintf("%s:%d:%d:%d", p.kind, p.at, p.line, p.mark))
}

func parsePosition(lane string, p record.Position) (place, error) {
	if p == "" {
		return place{}, nil
	}
	parts := strings.Split(string(p), ":")
	if len(parts) == 4 && (parts[0] == "t" || parts[0] == "p") {
		var numbers [3]int64
		good := true
		for i, text := range parts[1:] {
			n, err := strconv.ParseInt(text, 10, 64)
			good = good && err == nil && n >= 0
			numbers[i] = n
		}
		if good {
			return place{parts[0], numbers[0], numbers[1], numbers[2]}, nil
		}
	}
	return place{}, stop(codePosition, "lane "+lane, "it was written by another source: give the pipeline another name, or start it anew",
		fmt.Errorf("%q is no position in a file", p))
}
