package file

import "io"

// Cut makes pieces and the longest record small.
func (s *Source) Cut(piece int64, record int) { s.piece, s.record = piece, record }

// SetStdin gives the source another standard input.
func (s *Source) SetStdin(r io.Reader) { s.stdin.src = r }
