package app

import "github.com/acequia-io/acequia/internal/api"

// Gathers is for tests.
var Gathers = (*Declared).gathers //nolint:gochecknoglobals // of the tests

// Heap is for tests.
func Heap(p *Project, program int64) int64 { return p.heap(program) }

// ItemsOf is for tests.
func ItemsOf(s *Service) api.Items { return itemTables{s} }
