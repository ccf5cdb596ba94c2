//go:build unix && !linux

package compaction

import "errors"

func onASmallDisk(string) error { return errors.New("only on Linux") }

func withoutRights(string) error { return errors.New("only on Linux") }
