package app

// Gathers is for tests.
var Gathers = (*Declared).gathers //nolint:gochecknoglobals // of the tests
