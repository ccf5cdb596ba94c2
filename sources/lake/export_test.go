package lake

// Cut sets how big the piece of a lane is in bytes, and how many rows a chunk has at most.
func (s *Source) Cut(piece, rows int64) { s.piece, s.rows = piece, rows }
