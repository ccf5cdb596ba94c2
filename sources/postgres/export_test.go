package postgres

// PartRows makes the parts of backfills smaller than they are worth outside tests.
func PartRows(s *Source, rows int64) { s.partRows = rows }
