package app

// Gathers is for tests.
var Gathers = (*Declared).gathers //nolint:gochecknoglobals // of the tests

// Heap is for tests.
func Heap(p *Project) int64 { return p.heap() }
