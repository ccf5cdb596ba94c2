package lakefiles

// ListWith is List, and calls walked after each walk of the folders.
func ListWith(root, table string, walked func()) ([]string, error) { return list(root, table, walked) }
