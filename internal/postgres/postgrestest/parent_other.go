//go:build !linux

package postgrestest

import "syscall"

// endWithParent does nothing: only Linux tells a process that its parent is gone.
func endWithParent(*syscall.SysProcAttr) {}
